#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A multipath map changes while it is in use.

    node1: ours (multipath-ext)
      │
     two to four paths to one disk in memory (scsi_debug, hosts with one store)

Paths are added and removed under load, without a suspend; what is in flight on a path that goes is waited for. Priorities move the I/O. What is
not one more way to the same disk is refused. What waits without a path is bounded. The map counts what its paths carry.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language
from multipath import *  # noqa: F403


def refused(ours, text, why):
    ours.node.run("dmesg -C")
    expect(ours.message(text) != 0, f"'{text}' was done")
    told = ours.node.run("dmesg")
    expect(why in told, f"'{text}' was refused without '{why}': {told}")


def paths_come_and_go(one, paths, mode):
    say(f"paths come and go under load, {mode}")
    a, b, c, d = paths.numbers
    ours = Map(one)
    ours.create(f"4 queue_mode {mode} probe_interval_ms 200 0 1 1 queue-length 0 1 0 {a}")
    refused(ours, f"remove_path {a}", "the only path")
    enough = one.keep_writing(ours.path)
    time.sleep(1)
    for new, old in ((b, a), (c, b), (a, c), (b, a)):
        expect(ours.message(f"add_path 1 {new}") == 0, f"{new} was not added")
        expect([p["device"] for p in ours.paths()] == [old, new], ours.ask("explain"))
        expect(f" {old} " in one.run("dmsetup table ours") and f" {new} " in one.run("dmsetup table ours"), "the table does not show both")
        wait_for("the new path to bear its share", lambda: ours.states() == ["active"] * 2)
        wait_for("the new path to carry something", lambda: ours.paths()[1]["stats"]["write"]["count"] > 0)
        expect(ours.message(f"remove_path {old}") == 0, f"{old} was not removed")
        expect([p["device"] for p in ours.paths()] == [new], ours.ask("explain"))
    expect(ours.message(f"add_path 2 {d}") == 0, "no group was made")
    expect(" 2 1 queue-length " in one.run("dmsetup table ours"), one.run("dmsetup table ours"))
    expect(ours.message(f"remove_path {b}") == 0, "the first group did not go")
    expect([g["group"] for g in ours.json()["groups"]] == [1], "the groups are not numbered anew")
    enough(f"writes while paths came and went ({mode})")
    for text, why in ((f"add_path 0 {a}", "the group must be"), (f"add_path 3 {a}", "the group must be"), (f"add_path x {a}", "the group must be"), ("add_path 1 /dev/nothing", "error getting device"),
                      (f"add_path 1 {a} 1 1", "incorrect number of arguments"), (f"remove_path {a}", "no path of the map"), ("remove_path /dev/nothing", "no path of the map")):
        refused(ours, text, why)
    for _ in range(6):
        expect(ours.message(f"add_path 1 {a}") == 0 and ours.message(f"remove_path {d}") == 0 and ours.message(f"add_path 1 {d}") == 0 and ours.message(f"remove_path {a}") == 0, ours.ask("explain"))
    ours.message(f"add_path 1 {a}")
    paths.set("offline", 0)
    read = f"dd if={ours.path} of=/dev/null bs=4k count=1 iflag=direct 2>&1"
    wait_for("the cause to be told", lambda: one.run(read) and "an error of the path" in ours.ask("explain"))
    wait_for("tries to fail", lambda: any(change["failed_tries"] > 3 for path in ours.paths() for change in path["changes"]))
    expect("an error of the path" in ours.ask("explain"), f"tries push out what failed the path: {ours.ask('explain')}")
    paths.set("running", 0)
    ours.remove()


def what_is_in_flight_is_waited_for(one, paths):
    say("a path goes when what is in flight has come back")
    for i in (0, 1):
        over(one, f"way{i}", paths.numbers[i])
    ours = Map(one)
    ours.create("2 queue_mode bio 0 1 1 queue-length 0 2 0 /dev/mapper/way0 /dev/mapper/way1")
    way = ours.paths()[0]["device"]
    one.run("dmsetup suspend --noflush --nolockfs way0")
    reads = [one.background(f"dd if={ours.path} of=/dev/null bs=4k count=1 skip={i} iflag=direct 2>&1") for i in range(4)]
    wait_for("reads to hang", lambda: ours.paths()[0]["in_flight"] > 0)
    removal = one.background(f"dmsetup message ours 0 remove_path {way}")
    wait_for("the path to be drained", lambda: ours.states() == ["draining", "active"])
    time.sleep(1)
    expect(len(ours.paths()) == 2, "it went with reads in flight")
    one.run("pkill -INT -x dmsetup")
    expect(removal()[0] != 0 and ours.states() == ["draining", "active"], "who waits for it cannot be interrupted")
    removal = one.background(f"dmsetup message ours 0 remove_path {way}")
    time.sleep(0.5)
    one.run("dmsetup resume way0")
    expect(removal()[0] == 0 and len(ours.paths()) == 1, "it did not go")
    for read in reads:
        expect(read()[0] == 0, "a read was lost")
    one.run("dmsetup remove --retry way0")  # nobody has it open
    ours.remove()
    one.run("dmsetup remove --retry way1")


def strangers_are_refused(one, paths):
    say("what does not belong to a map")
    a, b, c, _ = paths.numbers
    one.run(f"dmsetup create --noudevsync smaller --table '0 {SIZE_MIB * 1024} linear {c} 0'")
    ours, other = Map(one), Map(one, name="other")
    line = "{} queue_mode bio{} 0 1 1 round-robin 0 {} 0 {}"
    for second, why in (("/dev/mapper/smaller", "another size"), ("/dev/mapper/leg0", "another disk")):
        told = ours.create(line.format(2, "", 2, f"{a} {second}"))
        expect(told and why in told, f"{second}: {told}")
        ours.create(line.format(2, "", 1, a))
        refused(ours, f"add_path 1 {second}", why)
        ours.remove()
    ours.create(line.format(2, "", 1, a))
    told = other.create(line.format(2, "", 2, f"{b} {a}"))
    expect(told and "another multipath map" in told, told)
    other.create(line.format(2, "", 1, b))
    refused(ours, f"add_path 1 {b}", "another multipath map")
    other.reload(line.format(2, "", 2, f"{b} {c}"))  # its own paths are no strangers
    other.remove()
    expect(ours.message(f"add_path 1 {b}") == 0, "it was refused although the other map is gone")
    ours.remove()
    expect(ours.create(line.format(3, " force", 2, f"/dev/mapper/leg0 {a}")) is None and " force " in one.run("dmsetup table ours"), "force does not help")
    ours.remove()
    one.run("dmsetup remove smaller")


def what_waits_is_bounded(one, paths):
    say("what waits without a path is bounded")
    a, b = paths.numbers[:2]
    ours = Map(one)
    ours.create(f"7 queue_if_no_path queue_mode bio probe_interval_ms 0 queue_limit_kib 64 0 1 1 round-robin 0 2 0 {a} {b}")
    for path in (a, b):
        ours.message(f"fail_path {path}")
    writes = [one.background(f"dd if=/dev/zero of={ours.path} bs=8k count=1 seek={i} oflag=direct 2>&1") for i in range(12)]
    wait_for("some to wait", lambda: ours.json()["waiting_kib"] == 64)
    time.sleep(1)
    ours.message(f"reinstate_path {a}")
    ended = [write()[0] for write in writes]
    expect(ended.count(0) == 8, f"{ended.count(0)} of 12 writes of 8 KiB waited")
    expect(ours.json()["waiting_kib"] == 0, "some still wait")
    ours.remove()


def it_counts(one, paths):
    say("the map counts, and priorities move its I/O")
    a, b = paths.numbers[:2]
    ours = Map(one)
    ours.create(f"2 failback immediate 0 2 1 round-robin 0 1 0 {a} latency 0 1 0 {b}")
    read = f"dd if={ours.path} of=/dev/null bs=4k count=50 iflag=direct 2>&1"
    expect(ours.message("stats on") == 0 and ours.message("stats perhaps") != 0, "stats")
    one.run(read)
    first = ours.paths()[0]["stats"]["read"]
    expect(first["count"] >= 50 and first["bytes"] >= 50 * 4096 and 50 <= sum(first["took"]) <= first["count"], str(first))
    expect("read-us" in ours.ask("stats"), ours.ask("stats"))
    expect(ours.message("set_prio 2 10") == 0, "set_prio")
    wait_for("the other group to be used", lambda: one.run(read) and ours.json()["groups"][1]["current"])
    expect("group_prio 0,10" in one.run("dmsetup table ours"), one.run("dmsetup table ours"))
    for wrong in ("set_prio 3 1", "set_prio 1 x", "set_prio 1"):
        expect(ours.message(wrong) != 0, wrong)
    ours.remove()


def it_asks_a_cluster(one, paths, mode):
    say(f"the cluster is asked, and there is but one node, {mode}")
    a, b = paths.numbers[:2]
    line = f"{{}} queue_mode {mode} probe_interval_ms 200 group_prio 2,1 failback immediate cluster {{}} 0 2 1 round-robin 0 1 0 {a} round-robin 0 1 0 {b}"
    ours = Map(one)
    told = ours.create(line.format(10, "x" * 129))
    expect(told and "128 characters" in told, f"a uuid that is too long: {told}")
    expect(ours.create(line.format(10, "MPATH-one")) is None, "the table is refused")
    expect("cluster MPATH-one" in one.run("dmsetup table ours"), one.run("dmsetup table ours"))

    def agreed():
        return next((log["groups"]["in_use"] for log in one.status()["logs"] if log["uuid"] == "MPATH-one" and log["phase"] == "active"), 0)

    def both(group):
        wait_for(f"group {group} to be used", lambda: ours.in_use() == group and agreed() == group)
    enough = one.keep_writing(ours.path, gently=True)
    both(1)
    paths.set("offline", 0)
    both(2)
    ours.reload(line.format(10, "MPATH-one"))
    both(2)
    paths.set("running", 0)
    both(1)
    one.kill_clogd()
    paths.set("offline", 0)
    wait_for("the other group to be used without a clogd", lambda: ours.in_use() == 2)
    one.start_clogd("--transport solo")
    both(2)
    paths.set("running", 0)
    both(1)
    enough(f"writes all the time ({mode})")
    ours.remove()


def a_map_without_a_path_is_not_scanned(one, paths):
    say("udev does not wait for a map without a path")
    a = paths.numbers[0]
    ours = Map(one)
    ours.create(f"3 queue_if_no_path probe_interval_ms 0 0 1 1 round-robin 0 1 0 {a}")
    one.run(f"mkfs.ext2 -q {ours.path}")
    node = one.run(f"readlink -f {ours.path}").strip()
    scan = f"udevadm trigger -c change {node} && udevadm settle -t"
    one.run(f"{scan} 60")
    link = f"/dev/disk/by-uuid/{one.run(f'blkid -o value -s UUID {node}').strip()}"

    def told(message):
        """And the event that follows it has gone to udev."""
        events = lambda: int(one.run("dmsetup info -c --noheadings -o events ours"))  # noqa: E731
        before = events()
        expect(ours.message(message) == 0, message)
        wait_for("the event", lambda: events() > before)

    for rule in (False, True):
        if rule:
            one.run(f"mkdir -p /run/udev/rules.d && cp {TOP}/ha-configs/udev/58-dm-mpath-ext.rules /run/udev/rules.d && udevadm control --reload && {scan} 60")
        told(f"fail_path {a}")
        status, _ = one.run(f"{scan} {60 if rule else 5}", check=False)
        expect((status == 0) == rule, "udev waits for a map without a path" if rule else "udev does not even wait without the rule: nothing is shown")
        told(f"reinstate_path {a}")
        one.run("udevadm settle -t 60")
        expect(one.run(f"readlink -f {link}").strip() == node, f"{link} is gone")
        known = one.run(f"udevadm info {node}")
        expect("DISABLE_OTHER_RULES_FLAG=1" not in known and "DM_NOSCAN=1" not in known, f"the map has a path and is not scanned: {known}")
    ours.remove()


def tell(lab):
    one = lab.node(1)
    paths = Paths(one)
    for mode in ("rq", "bio"):
        paths_come_and_go(one, paths, mode)
    what_is_in_flight_is_waited_for(one, paths)
    strangers_are_refused(one, paths)
    what_waits_is_bounded(one, paths)
    it_counts(one, paths)
    a_map_without_a_path_is_not_scanned(one, paths)
    one.use_our_mirror()
    one.start_clogd("--transport solo")
    for mode in ("rq", "bio"):
        it_asks_a_cluster(one, paths, mode)
    one.kill_clogd("TERM")
    one.run("rmmod dm_mpath")


story(tell, nodes=1, disks={"leg0": SIZE_MIB * MIB})
