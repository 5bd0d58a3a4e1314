#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a map does without a path (queue_if_no_path) outlives a suspend, also one that is interrupted.

    node1: stock (multipath), ours (multipath-ext), each over the same two paths, which hang where a suspend is to be interrupted

Told by a message, then suspended; suspended and given up; suspended once more after that. Where the kernel's own target keeps the feature ours does, and ours keeps
it in every case: a read without a path waits, and is served when a path is back.
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a scenario speaks the lab's language
from multipath import *  # noqa: F403


READS = 40


def queues(one, m):
    """As its table says."""
    return " queue_if_no_path " in one.run(f"dmsetup table {m.name}")


def waits(one, m, paths):
    """A read without a path is served when one is back."""
    for number in paths:
        m.message(f"fail_path {number}")
    read = one.background(f"dd if={m.path} of=/dev/null bs=4k count=1 iflag=direct 2>&1", 120)
    wait_for("the read to be under way, or to have failed", lambda: one.run("pgrep -x dd > /dev/null && cat /proc/$(pgrep -x dd)/wchan 2>/dev/null; pgrep -x dd > /dev/null || echo ended").strip() not in ("", "0"))
    for number in paths:
        m.message(f"reinstate_path {number}")
    return read()[0] == 0


def suspend(one, m, how):
    one.run(f"dmsetup suspend {how} {m.name} && dmsetup resume --noudevsync {m.name}")


def interrupted(one, m, hang):
    """A suspend waits for I/O that hangs, and is given up."""
    for name in hang:
        one.run(f"dmsetup suspend --noflush --nolockfs {name}")
    read = one.background(f"dd if={m.path} of=/dev/null bs=4k count=1 iflag=direct 2>&1", 120)
    wait_for("I/O under way", lambda: one.run(f"grep -vs '^ *0 *0$' /sys/block/$(basename $(readlink -f {m.path}))/inflight; true"))
    status, _ = one.run(f"timeout -s INT 3 dmsetup suspend --nolockfs {m.name} 2>&1", check=False)
    expect(status, "the suspend was not interrupted")
    expect("SUSPENDED" not in one.run(f"dmsetup info {m.name}"), "the map is suspended")
    for name in hang:
        one.run(f"dmsetup resume {name}")
    expect(read()[0] == 0, "a read under an interrupted suspend has failed")


def put_off(one, m, ways, names):
    """Reads that come while a suspend waits for I/O that hangs, and for which there is no path when it is given up."""
    for name in names:
        one.run(f"dmsetup suspend --noflush --nolockfs {name}")
    first = one.background(f"dd if={m.path} of=/dev/null bs=4k count=1 iflag=direct 2>&1", 120)
    wait_for("I/O under way", lambda: one.run(f"grep -vs '^ *0 *0$' /sys/block/$(basename $(readlink -f {m.path}))/inflight; true"))
    suspended = one.background(f"dmsetup suspend --noflush --nolockfs {m.name} 2>&1", 120)
    wait_for("the suspend to wait", lambda: "dm_" in one.run("cat /proc/$(pgrep -x dmsetup)/wchan 2>/dev/null; true"))
    for number in ways:
        m.message(f"fail_path {number}")
    reads = one.background(f"for i in $(seq {READS}); do dd if={m.path} of=/dev/null bs=4k count=1 skip=$i iflag=direct 2>/dev/null & pids=\"$pids $!\"; done; "
                           "for p in $pids; do wait $p || failed=$((failed + 1)); done; echo failed ${failed:-0}", 120)
    wait_for("the reads to be put off", lambda: int(one.run("pgrep -xc dd; true")) == READS + 1)
    one.run("kill -TERM $(pgrep -x dmsetup)")
    expect(suspended()[0], "the suspend was not interrupted")
    expect("SUSPENDED" not in one.run(f"dmsetup info {m.name}"), "the map is suspended")
    for number in ways:
        m.message(f"reinstate_path {number}")
    for name in names:
        one.run(f"dmsetup resume {name}")
    first()
    failed = reads()[1].split()[-1]
    say(f"{failed} of {READS} reads have failed")
    return failed == "0"


def tell(lab):
    one = lab.node(1)
    one.run("modprobe -qa dm-multipath dm-round-robin; true")
    paths = Paths(one)
    kept = {}
    for kind in NAMES:
        say(f"told by a message, then suspended: {kind}, request-based")
        m = Map(one, kind)
        m.create(f"0 0 1 1 round-robin 0 2 0 {' '.join(paths.numbers[:2])}")
        m.message("queue_if_no_path")
        suspend(one, m, "--nolockfs --noflush")
        kept[kind, "a suspend that gives I/O back"] = queues(one, m) and waits(one, m, paths.numbers[:2])
        suspend(one, m, "--nolockfs")
        kept[kind, "a suspend that flushes"] = queues(one, m)
        m.remove()

        say(f"an interrupted suspend: {kind}, bio-based")
        ways = [over(one, f"way{i}", paths.numbers[i]) for i in (0, 1)]
        m = Map(one, kind)
        m.create(f"3 queue_if_no_path queue_mode bio 0 1 1 round-robin 0 2 0 {' '.join(ways)}")
        interrupted(one, m, ("way0", "way1"))
        kept[kind, "an interrupted suspend"] = queues(one, m) and waits(one, m, ways)
        kept[kind, "an interrupted suspend that had put it off,"] = put_off(one, m, ways, ("way0", "way1"))
        suspend(one, m, "--nolockfs")
        kept[kind, "a suspend after an interrupted one"] = queues(one, m) and waits(one, m, ways)
        m.remove()
        one.run("dmsetup remove way0; dmsetup remove way1")
    for (kind, what), truth in kept.items():
        say(f"{kind}: after {what} I/O {'waits' if truth else 'does not wait'} for a path")
    lost = [what for (kind, what), truth in kept.items() if kind == "ours" and not truth]
    expect(not lost, f"ours has lost queue_if_no_path after {', '.join(lost)}")
    one.run("rmmod dm_mpath")


story(tell, nodes=1, disks={})
