#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Persistent reservations and paths: a write never fails because one path is not registered, and fails at once where the node is excluded.

    node1: ours ── port one ──┐
                ── port two ──┼── a disk in memory (the kernel's own target, tcm_loop), reserved for those that are registered
    another node ── port ─────┘

A path is away while the key is registered, or added later: I/O that meets the conflict goes down the other path, and this one is out of use until it is registered,
too. Then the other node takes the registrations away: on both paths, so writes end with the conflict.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a scenario speaks the lab's language
from multipath import *  # noqa: F403

KEY, OTHER_KEY, NO_KEY = 0x1, 0xF, 0
REGISTRANTS_WRITE = 3  # enum pr_type, linux/pr.h
REGISTER, RESERVE, PREEMPT, CLEAR = (200, "QQII"), (201, "QII"), (203, "QQII"), (205, "QII")
WAYS = "/sys/devices/*/tcm_loop_adapter_*/host*/target*/*/block/*"


def reservation(node, disk, what, *words):
    number, form = what
    node.run(f"/usr/bin/python3 -c 'import fcntl,os,struct; w=bytearray(struct.pack(\"{form}\", *{words})); "
             f"exit(fcntl.ioctl(os.open(\"/dev/{disk}\", os.O_RDWR), 1 << 30 | len(w) << 16 | ord(\"p\") << 8 | {number}, w))' 2>&1")


def register(node, disk, old, new):
    reservation(node, disk, REGISTER, old, new, 0, 0)


def another_node(one, array):
    """A third way to the disk, which is no path of the map."""
    way = f"{TARGET}/loopback/naa.5001000000000009/tpgt_1"
    one.run(f"mkdir -p {way} && echo naa.5001000000000109 > {way}/nexus && mkdir {way}/lun/lun_0 && ln -s {array.disk} {way}/lun/lun_0/disk")
    names = one.wait_for_disks("the other node's way", 3, WAYS)

    def gone():
        one.run(f"rm {way}/lun/lun_0/disk && rmdir {way}/lun/lun_0 {way} {way.rsplit('/', 1)[0]}")
    return next(name for name in names if name not in array.names), gone


def write(one, ours):
    """Its status, and what it said."""
    return one.run(f"timeout 60 dd if=/dev/zero of={ours.path} bs=4k count=4 seek=4096 oflag=direct 2>&1", check=False)


def unregistered(ours, what):
    wait_for(f"{what}: the path to be out of use", lambda: ours.states() == ["active", "unregistered"])
    expect("reservation conflict" in ours.ask("explain"), ours.ask("explain"))


def added(one, array, ours):
    second = array.names[1]
    say("a path is added that is not registered")
    expect(ours.message(f"remove_path {array.numbers[1]}") == 0, "the path cannot be taken out")
    register(one, second, KEY, NO_KEY)
    expect(ours.message(f"add_path 1 {array.numbers[1]}") == 0, "the path cannot be added")
    unregistered(ours, "added")
    ours.message(f"reinstate_path {array.numbers[1]}")
    unregistered(ours, "reinstated, and not registered")
    register(one, second, NO_KEY, KEY)
    wait_for("the path to be back, registered", lambda: ours.states() == ["active"] * 2)


def told(one, array, other, mode):
    first, second = array.names
    ours = Map(one)
    refused = ours.create(f"5 queue_if_no_path queue_mode {mode} probe_interval_ms 200 0 1 1 round-robin 0 2 0 {' '.join(array.numbers)}")
    expect(refused is None, f"the table is refused: {refused}")
    enough = one.keep_writing(ours.path, gently=True)

    say(f"a path is away while the key is registered, {mode}")
    array.path(1, "offline")
    wait_for("the path to fail", lambda: ours.states()[1] != "active")
    register(one, first, NO_KEY, KEY)
    reservation(one, first, RESERVE, KEY, REGISTRANTS_WRITE, 0)
    array.path(1, "running")
    unregistered(ours, "away")
    time.sleep(2)  # tries come and go: what is shown is that nothing happens
    unregistered(ours, "tried again")
    register(one, second, NO_KEY, KEY)
    wait_for("the path to be back, registered", lambda: ours.states() == ["active"] * 2)

    if mode == "rq":
        added(one, array, ours)
    enough(f"writes while a path was not registered ({mode})")

    say(f"the other node excludes this one, {mode}")
    register(one, other, NO_KEY, OTHER_KEY)
    reservation(one, other, PREEMPT, OTHER_KEY, KEY, REGISTRANTS_WRITE, 0)
    for _ in range(3):
        status, out = write(one, ours)
        expect(status == 1 and "Invalid exchange" in out, f"a write of a node that is excluded ended with {status}: {out}")
    for disk in (first, second):
        register(one, disk, NO_KEY, KEY)
    wait_for("both paths to be back", lambda: ours.states() == ["active"] * 2)
    status, out = write(one, ours)
    expect(status == 0, f"a write of a node that is registered again: {out}")
    ours.remove()
    reservation(one, other, CLEAR, OTHER_KEY, 0, 0)


def tell(lab):
    one = lab.node(1)
    load_target(one)
    array = Array(one, decides_alone=True)
    other, gone = another_node(one, array)
    for mode in ("rq", "bio"):
        told(one, array, other, mode)
    one.run("rmmod dm_mpath")
    gone()
    array.remove()


story(tell, nodes=1, disks={})
