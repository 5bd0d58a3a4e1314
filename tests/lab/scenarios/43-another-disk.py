#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A table puts another disk in the place of a leg.

    node1, node2: mirror
      │     │
    leg0, leg1 or spare, log

Nothing on a disk says whose leg it is. What a node knows of the disks that were there is enough to refuse the table: no write is done, none is lost, and
with the disk that was there they go on. With `sync` the new disk is written anew, once the mirror is closed everywhere.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def written(lab, disk):
    with open(lab.disks[disk], "rb") as f:
        return any(any(f.read(MIB)) for _ in range(lab.sizes[disk] // MIB))


def tell(lab):
    lab.start_cluster()
    one, two = lab.nodes
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    one.expect(one.load("write", mirror.path, seconds=3, span_mib=8, verify=True)(), "writes")
    mirror.remove()

    say("another disk in the place of leg1")
    other = Mirror(lab, legs=("leg0", "spare"), extra="nosync")
    other.create()
    for n in lab.nodes:
        wait_for(f"node {n.number} to refuse the table", lambda: "of the table" in (n.log_status(other) or {}).get("trouble", ""))
        trouble = n.log_status(other)["trouble"]
        expect("leg 1 of the table" in trouble and "`sync`" in trouble, f"node {n.number} does not tell the remedy: {trouble}")
        code, _ = n.run(f"{BUILD}/bin/clogctl status", check=False)
        expect(code != 0, "all is said to be well")
    load = one.load("write", other.path, seconds=15, span_mib=8, base=100000, verify=True)
    time.sleep(4)
    expect(not written(lab, "spare"), "something was written to the other disk")

    say("resumed by hand: what waited is let in, and is to be given back")
    asked = one.log_status(other)["counters"]["requests"]
    one.run(f"dmsetup resume --noudevsync {other.name}")  # udev may wait for what it reads there
    wait_for("the writes to come to the target", lambda: one.log_status(other)["counters"]["requests"] > asked + 7)

    say("the disk that was there")
    mirror.reload(suspend="--noflush --nolockfs")
    for n in lab.nodes:
        wait_for("the daemon to forget that it had suspended it", lambda: n.run("ls /run/clogd/suspended.* 2> /dev/null; true").strip() == "")
    one.expect(load(), "writes that waited")
    mirror.wait_sync()
    mirror.check_legs()

    say("closed on one node only, with `sync`")
    anew = Mirror(lab, legs=("leg0", "spare"), extra="sync")
    mirror.remove(one)
    anew.create(one)
    wait_for("node 1 to refuse the table", lambda: "on every node" in (one.log_status(anew) or {}).get("trouble", ""))
    anew.remove(one)
    mirror.remove(two)

    say("closed everywhere, with `sync`")
    anew.create()
    anew.wait_sync()
    anew.check_legs()
    anew.remove()
    other.create()
    other.wait_sync()
    other.check_legs()
    other.remove()


story(tell, nodes=2, disks={"leg0": 64 * MIB, "leg1": 64 * MIB, "spare": 64 * MIB, "log": 4 * MIB})
