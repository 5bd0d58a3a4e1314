#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Our mirror target in the place of the kernel's own, on one node.

    node1: mirror (dm-raid1-ext), log `disk`
      │
     leg0, leg1, leg2, log

Writes during the first copy, which gives way to them; legs that differ are found and made equal; a crash while writing; a leg that fails under load, comes back and gets
only what it missed; the next leg fails in turn. The legs are identical after each, nothing acknowledged is lost, and the log is one that the stock target reads.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def which_leg_is_read(node, mirror):
    say("which leg is read")

    def reads(command):
        """Of each leg while the command runs."""
        def counted():
            return [node.reads_of(mirror.lab.path(leg)) for leg in mirror.legs]
        before = counted()
        node.run(command)
        return [after - n for after, n in zip(counted(), before)]
    at_random = f"fio --name=x --filename={mirror.path} --direct=1 --ioengine=libaio --rw=randread --bs=4k --iodepth=16 --size=8m --number_ios=300"

    def in_turn(first, count):
        return f"dd if={mirror.path} of=/dev/null bs=64k iflag=direct skip={first} count={count} 2>&1"
    for leg in mirror.legs:  # so that reads are in flight, however slow the machine that asks for them
        node.throttle(leg, MIB // 8)
    found = reads(at_random)
    expect(min(found) >= 30, f"a leg has next to nothing of 300 random reads: {found}")
    node.throttle("leg0", MIB // 32)
    found = reads(at_random)
    expect(0 < found[0] < min(found[1:]), f"a slow leg has as much as the others: {found}")
    for leg in mirror.legs:
        node.throttle(leg, 0)
    mirror.message("prefer 2")
    expect(reads(in_turn(200, 1)) == [0, 0, 1], "the preferred leg is not read")
    mirror.message("prefer none")
    found = reads(in_turn(201, 50))  # where no other leg has read: it would be a run there, too
    expect(found == [0, 0, 50], f"a sequential run leaves its leg: {found}")
    mirror.message("prefer 1")
    found = reads(at_random)
    expect(found[0] == found[2] == 0, f"another leg than the preferred one is read: {found}")
    mirror.message("fail 1")
    found = reads(at_random)
    expect(found[1] == 0 and found[0] and found[2], f"a leg that failed is read: {found}")
    mirror.message("restore")
    found = reads(at_random)
    expect(found[1] and found[0] == found[2] == 0, f"the preferred leg is back and not read: {found}")
    mirror.message("prefer none")


def tell(lab):
    one = lab.node(1)
    one.use_our_mirror(idle_ms=1000)
    lab.fill("leg0")
    mirror = LocalMirror(lab, legs=("leg0", "leg1", "leg2"))
    one.throttle("leg2", MIB // 4 if DEBUG_KERNEL else 2 * MIB)
    mirror.create()
    wait_for("several regions to be copied at once", lambda: mirror.stats()["copying"] > 1)
    load = one.load("write", mirror.path, seconds=40 if DEBUG_KERNEL else 10, depth=8, span_mib=32, verify=True)
    wait_for("copying to give way", lambda: all(mirror.stats()["copying"] <= 1 for _ in range(10)))
    expect(not mirror.in_sync(), "the copy was over too soon: it shows nothing")
    one.expect(load(), "writes during the first copy")
    wait_for("several regions to be copied at once again", lambda: mirror.stats()["copying"] > 1)
    one.throttle("leg2", 0)
    mirror.wait_sync()
    mirror.check_legs()

    say("regions differ, found and repaired while the mirror is written")
    load = one.load("write", mirror.path, seconds=8, depth=2, span_mib=4, base=50000, verify=True)
    for region, leg in ((20, "leg1"), (21, "leg2"), (100, "leg1")):
        mirror.spoil(leg, region)
    report = mirror.scrub()
    expect(report["differ"] == "3" and report["at"] == "20,21,100", f"found: {report}")
    expect(mirror.legs_identical() == [20, 21, 100], "looking alone changed something")
    report = mirror.scrub("repair")
    expect(report["repaired"] == "3", f"repaired: {report}")
    mirror.wait_sync()
    one.expect(load(), "writes while it was scrubbed")
    expect(mirror.scrub()["differ"] == "0", "still different")
    mirror.check_legs()

    say("a crash while writing")
    one.throttle("leg1", 40000 if DEBUG_KERNEL else 400000)
    before = mirror.stats()["warm_writes"]
    one.load("write", mirror.path, seconds=60, depth=16, from_mib=32, span_mib=4, base=100000)
    wait_for("writes to warm regions", lambda: mirror.stats()["warm_writes"] > before + 16)
    time.sleep(2)
    one.kill()
    differ = mirror.legs_identical()
    say(f"{len(differ)} regions differ")
    expect(differ, "the crash left no difference: it shows nothing")
    lab.boot(one)
    one.use_our_mirror(idle_ms=1000)
    mirror.create()
    copied_from = mirror.status()[0]
    expect(mirror.regions - 10 <= copied_from < mirror.regions or mirror.in_sync(), f"only marked regions are to be copied, yet {copied_from} of {mirror.regions} are in sync")
    mirror.wait_sync()
    expect(mirror.stats()["regions_copied"] <= 10, f"copied more than what was marked: {mirror.stats()}")
    mirror.check_legs()

    for number, leg in enumerate(("leg1", "leg0")):
        say(f"{leg} fails under load and returns")
        base = 1000000 * (number + 2)
        before = mirror.stats()["regions_copied"]
        enough = one.keep_writing(mirror.path, base=base)
        reads = one.load("read", mirror.path, seconds=8, span_mib=2)
        time.sleep(2)
        lab.fail_disk(leg)
        wait_for("the leg to be told as failed", lambda: "D" in mirror.status()[1])
        say(f"health {mirror.status()[1]}; its writes wait")
        lab.restore_disk(leg)
        mirror.message("restore")
        enough("writes across the failure")
        one.expect(reads(), "reads across the failure")
        wait_for("the leg to be whole again", lambda: mirror.in_sync() and mirror.status()[1] == "AAA" and mirror.stats()["missed"] == 0)
        copied = mirror.stats()["regions_copied"] - before
        say(f"{copied} of {mirror.regions} regions were copied to it")
        expect(0 < copied <= 17, "not only what the leg had missed was copied")
        mirror.check_legs()

    say("warm regions cost the log nothing")
    wait_for("every mark to end", lambda: mirror.message("regions").strip() == "")
    one.run("echo 600000 > /sys/module/dm_raid1_ext/parameters/idle_ms")
    one.run(f"dd if=/dev/zero of={mirror.path} bs=4k count=1 oflag=direct 2>&1")
    before = mirror.stats()
    one.run(f"dd if=/dev/zero of={mirror.path} bs=4k count=100 oflag=direct 2>&1")
    after = mirror.stats()
    expect(mirror.message("regions").strip() == "0:warm:0", f"regions in use: {mirror.message('regions')}")
    expect(after["marks"] == before["marks"] and after["warm_writes"] - before["warm_writes"] >= 99, f"{before} {after}")
    which_leg_is_read(one, mirror)
    mirror.remove()
    one.run("rmmod dm_raid1_ext dm_log_cluster && modprobe -q dm-mirror; true")
    lab.target = "mirror"
    mirror.create()
    words = one.run(f"dmsetup status {mirror.name}").split()
    expect(f"{mirror.regions}/{mirror.regions}" in words, f"the stock target does not read the log as it was left: {words}")
    mirror.remove()


story(tell, nodes=1, disks={"leg0": 64 * MIB, "leg1": 64 * MIB, "leg2": 64 * MIB, "log": 4 * MIB})
