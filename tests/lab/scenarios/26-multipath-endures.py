#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a multipath map goes through in years, in minutes.

    node1: ours (multipath-ext)
      │
     two to four paths to one disk in memory (scsi_debug, hosts with one store)

A path comes and goes every 300 ms for a minute under load, while another one is well: no error, no I/O lost, and groups are not changed for each
time it comes. All paths go and come: what waits goes on. Maps are made and removed CYCLES times (100; 1,000 in a long run): no memory is gone.
"""
import os
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language
from multipath import *  # noqa: F403

CYCLES = int(os.environ.get("CYCLES", "100"))
FLAPS = 200


def flaps(one, paths, mode):
    say(f"a path of the better group comes and goes every 300 ms, {mode}")
    a, b = paths.numbers[:2]
    ours = Map(one)
    expect(ours.create(f"8 queue_mode {mode} probe_interval_ms 200 group_prio 2,1 failback immediate 0 2 1 round-robin 0 1 0 {a} round-robin 0 1 0 {b}") is None, "the table is refused")
    one.run("dmesg -C")
    enough = one.keep_writing(ours.path, gently=True)
    state = f"/sys/block/{paths.names[0]}/device/state"
    one.run(f"for i in $(seq {FLAPS}); do echo offline > {state}; sleep 0.15; echo running > {state}; sleep 0.15; done", timeout=300)
    wait_for("both paths to be well", lambda: ours.states() == ["active"] * 2, 90)
    wait_for("the better group to be in use", lambda: ours.in_use() == 1, 90)
    backs = one.run("dmesg | grep -c 'back to group 1'; true").strip()
    figures = enough(f"writes while a path came and went ({mode})")
    say(f"{figures['writes']} writes, longest gap {figures['longest_gap_ms']:.0f} ms; back to the better group {backs} times")
    expect(int(backs) <= FLAPS // 10, f"{backs} failbacks for {FLAPS} flaps")
    ours.remove()


def all_go(one, paths):
    say("all paths go and come back, and what waits goes on")
    ours = Map(one)
    ours.create(f"5 queue_if_no_path queue_mode bio probe_interval_ms 200 0 1 1 queue-length 0 4 0 {' '.join(paths.numbers)}")
    enough = one.keep_writing(ours.path, gently=True)
    for _ in range(5):
        paths.set("offline")
        wait_for("no path to be left", lambda: "active" not in ours.states() and "ramping" not in ours.states())
        paths.set("running")
        wait_for("all paths to be well", lambda: ours.states() == ["active"] * 4, 90)
    enough("writes while all paths went and came")
    ours.remove()


def cycles(one, paths, count):
    line = f"0 {SIZE_MIB * 2048} {NAMES['ours']} 1 queue_if_no_path 0 2 1 round-robin 0 2 0 {' '.join(paths.numbers[:2])} latency 0 2 0 {' '.join(paths.numbers[2:])}"
    one.run(f"for i in $(seq {count}); do dmsetup create --noudevsync many --table '{line}' && dd if=/dev/$(dmsetup info -c --noheadings -o blkdevname many) of=/dev/null bs=4k count=1 iflag=direct 2> /dev/null && "
            "dmsetup message many 0 stats on > /dev/null && dmsetup remove --noudevsync --retry many || exit 1; done", timeout=max(300, count * 3))


def tell(lab):
    one = lab.node(1)
    paths = Paths(one)
    for mode in ("bio", "rq"):
        flaps(one, paths, mode)
    all_go(one, paths)

    def left():
        one.run("sync; echo 3 > /proc/sys/vm/drop_caches; sleep 1")
        return int(one.run("awk '/^(SUnreclaim|Percpu)/ { kib += $2 } END { print kib }' /proc/meminfo"))
    cycles(one, paths, 30)
    before = left()
    begin = time.time()
    cycles(one, paths, CYCLES)
    more = left() - before
    say(f"{CYCLES} maps came and went in {time.time() - begin:.0f} s; the kernel has {more} KiB more in use")
    expect(more <= 2048 + CYCLES, f"the kernel has {more} KiB more in use after {CYCLES} maps")
    one.run("rmmod dm_mpath")


story(tell, nodes=1, disks={})
