#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The nodes agree on which legs are in use (our target and log).

    node1 (writes 0..8)   node2 (writes 8..16)   node3 (reads)
         \\__________________ | ___________________/
                     leg0, leg1, log

The first leg, which is the primary, fails for all under load: every node moves to the other one, no write fails or is lost. All lose
power: the leg that was away is still away. It returns, and only what it missed is copied. Regions that differ are found and repaired.
Story 37 goes on.
"""
import os
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
os.environ["CLOGD_LAB_TARGET"] = "ours"
from lab import *  # noqa: F403,E402 - a story speaks the lab's language


def letters(node, mirror):
    return node.run(f"dmsetup status {mirror.name}").split()[8]


def tell(lab):
    lab.start_cluster(options="--dead-wait-ms 300")
    one, two, three = lab.nodes
    mirror = Mirror(lab, extra="nosync")
    traced = [n.trace("dm_raid1_ext", "dm_log_cluster") for n in lab.nodes]
    mirror.create()
    mirror.wait_sync()
    mirror.legs_agreed("alive", "alive")

    say("the primary fails for all, under load")
    loads = [(n, n.load("write", mirror.path, seconds=12, from_mib=8 * i, span_mib=8, depth=4, stride=8, verify=True)) for i, n in enumerate((one, two))]
    time.sleep(3)
    reader = three.load("read", mirror.path, seconds=9, span_mib=16, stride=64)
    lab.fail_disk("leg0")
    mirror.legs_agreed("away", "alive")
    for node, load in loads:
        figures = node.expect(load(), f"node {node.number}'s writes")
        say(f"node {node.number}: longest write {figures['longest_write_ms']:.0f} ms of {figures['writes']}")
    three.expect(reader(), "the reader")
    for node in lab.nodes:
        if letters(node, mirror) != "DA":
            raise LabError(f"node {node.number} shows {letters(node, mirror)}")
    missing = {"mirror_region", "mirror_legs", "mirror_leg_failed", "cluster_log_state", "cluster_log_regions"}.difference(*(hit() for hit in traced))  # a node may hear of a leg's end before it sees it
    expect(not missing, f"tracepoints that were not hit: {missing}")

    say("everybody loses power, with the first leg away")
    for node in lab.nodes:
        node.kill()
    lab.boot(*lab.nodes)
    lab.start_cluster(options="--dead-wait-ms 300")
    mirror.create()
    mirror.legs_agreed("away", "alive")
    one.expect(one.load("write", mirror.path, seconds=3, from_mib=20, span_mib=4, verify=True, base=1 << 32)(), "writes after the crash")
    mirror.message("restore", two)
    mirror.legs_agreed("alive", "alive")
    mirror.wait_sync()
    copied = sum(n.log_status(mirror)["counters"]["regions_copied"] for n in lab.nodes)
    say(f"the first leg is back: {copied} of {mirror.regions} regions were copied")
    if not 0 < copied <= 44:
        raise LabError(f"{copied} regions were copied; it missed writes in 40")
    mirror.check_legs()

    say("two regions differ; node 3 finds and repairs them while the others write")
    loads = [n.load("write", mirror.path, seconds=6, from_mib=8 * i, span_mib=4, depth=2, stride=8, verify=True, base=3 << 31) for i, n in enumerate((one, two))]
    mirror.message("rate 5", two)
    wait_for("every node to know the rate", lambda: all(n.log_status(mirror)["rate_limit_bytes_per_s"] == 5 * MIB for n in lab.nodes))
    for region in (60, 100):
        mirror.spoil("leg1", region)
    report = mirror.scrub("repair", three)
    if report["at"] != "60,100" or report["repaired"] != "2":
        raise LabError(f"the scrub found {report}")
    mirror.wait_sync()
    for node, load in zip((one, two), loads):
        node.expect(load(), f"node {node.number}'s writes while it was scrubbed")
    one.run(f"{BUILD}/bin/clogctl rate 0")
    wait_for("the rate to be lifted", lambda: all(n.log_status(mirror)["rate_limit_bytes_per_s"] == 0 for n in lab.nodes))
    mirror.check_legs()


story(tell)
