#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Legs that fail in other ways than in story 17 (our target and log).

    node1 (writes 0..8)   node2 (writes 8..16)   node3
         \\__________________ | ___________________/
                     leg0, leg1, log

A leg fails for one node alone: that costs the others nothing, and its writes go on when its path is well again. Then both fail in turn; one fails for
one node alone, whose word is enough (--leg-failure any); one is away while the mirror is closed; and the primary is gone with a node.
"""
import os
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
os.environ["CLOGD_LAB_TARGET"] = "ours"
from lab import *  # noqa: F403,E402 - a story speaks the lab's language


def tell(lab):
    lab.start_cluster(options="--dead-wait-ms 300")
    one, two, three = lab.nodes
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    mirror.legs_agreed("alive", "alive")

    say("the second leg fails for node 1 alone")
    other = two.load("write", mirror.path, seconds=8, from_mib=8, span_mib=8, stride=8, verify=True, base=2 << 32)
    mine = one.load("write", mirror.path, seconds=8, from_mib=0, span_mib=8, stride=8, verify=True, base=2 << 32)
    time.sleep(2)
    lab.fail_disk("leg1", one)
    wait_for("node 1 to say so", lambda: "only 1 of 3 nodes cannot use it" in (one.log_status(mirror).get("trouble") or ""))
    mirror.legs_agreed("alive", "alive")
    lab.restore_disk("leg1", one)
    figures = two.expect(other(), "node 2's writes")
    say(f"node 2: longest write {figures['longest_write_ms']:.0f} ms")
    one.expect(mine(), "node 1's writes")
    mirror.check_legs()

    say("the second leg fails for all, returns, and then the first")
    for base, (leg, states) in enumerate((("leg1", ("alive", "away")), ("leg0", ("away", "alive")))):
        load = one.load("write", mirror.path, seconds=14, from_mib=0, span_mib=8, stride=8, verify=True, base=(4 + base) << 32)
        time.sleep(1)
        lab.fail_disk(leg)
        mirror.legs_agreed(*states)
        lab.restore_disk(leg)
        mirror.message("restore", one)
        mirror.legs_agreed("alive", "alive")
        one.expect(load(), f"writes while {leg} fails and returns")
        mirror.wait_sync()
    mirror.check_legs()

    say("the second leg fails for node 1 alone, whose word is enough")
    one.kill_clogd()
    one.start_clogd("--dead-wait-ms 300 --leg-failure any")
    mirror.legs_agreed("alive", "alive")
    load = one.load("write", mirror.path, seconds=8, from_mib=0, span_mib=8, stride=8, verify=True, base=6 << 32)
    time.sleep(1)
    lab.fail_disk("leg1", one)
    mirror.legs_agreed("alive", "away")
    lab.restore_disk("leg1", one)
    mirror.message("restore", one)
    mirror.legs_agreed("alive", "alive")
    one.expect(load(), "node 1's writes")
    mirror.wait_sync()
    mirror.check_legs()

    say("a leg is away while the mirror is closed and opened")
    lab.fail_disk("leg1")
    one.expect(one.load("write", mirror.path, seconds=3, from_mib=0, span_mib=2, verify=True, base=7 << 32)(), "writes")
    mirror.legs_agreed("alive", "away")
    mirror.remove()
    lab.restore_disk("leg1")
    mirror.create()
    mirror.legs_agreed("alive", "away")
    mirror.message("restore", one)
    mirror.legs_agreed("alive", "alive")
    mirror.wait_sync()
    mirror.check_legs()

    say("the primary fails as node 3 dies while it writes: the others go on")
    three.load("write", mirror.path, seconds=60, from_mib=16, span_mib=8, depth=4, base=8 << 32)
    writers = [(n, n.load("write", mirror.path, seconds=12, from_mib=8 * i, span_mib=8, stride=8, verify=True, base=8 << 32)) for i, n in enumerate((one, two))]
    reader = two.load("read", mirror.path, seconds=12, from_mib=24, span_mib=16, stride=64)
    watcher = one.load("read", mirror.path, seconds=12, from_mib=16, span_mib=8, stride=8)
    time.sleep(2)
    at_once([lambda n=n: n.run("dmsetup suspend --nolockfs --noflush leg0") for n in (one, two)])  # a leg that is gone fails late
    three.kill()
    time.sleep(5)
    lab.fail_disk("leg0", one, two)
    for node, writer in writers:
        figures = node.expect(writer(), f"node {node.number}'s writes")
        say(f"node {node.number}: longest write {figures['longest_write_ms']:.0f} ms")
    two.expect(reader(), "the reader")
    figures = watcher()  # without a lock it may have seen what was never acknowledged
    expect(figures["reads"] and not figures["errors"], f"reads of what node 3 was writing: {figures}")
    mirror.legs_agreed("away", "alive")
    two.expect(two.load("read", mirror.path, seconds=2, from_mib=16, span_mib=8, stride=8)(), "what node 3 was writing")


story(tell)
