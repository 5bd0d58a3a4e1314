#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A node dies while it writes at depth 16, with one leg throttled, so that its legs differ.

    node1 (reads)   node2 (writes elsewhere)   node3 (writes 8..24 MiB, loses power)
         \\_______________ | ____________________/
             leg0, leg1 (throttled for node3), log

Only what node3 had marked is copied again, at once; the survivor's writes elsewhere do not stop; what the reader saw after the
kill never goes back, also when the first leg then fails for it.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    lab.start_cluster(options="--dead-wait-ms 300")
    one, two, three = lab.nodes
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    copied_before = sum(n.log_status(mirror)["counters"]["regions_copied"] for n in lab.nodes)
    three.throttle("leg1", 600000)
    three.load("write", mirror.path, seconds=30, from_mib=8, span_mib=16, depth=16, stride=8)
    time.sleep(4)
    marked = three.log_status(mirror)["dirty"]
    survivor = two.load("write", mirror.path, seconds=14, from_mib=40, span_mib=8, verify=True)
    time.sleep(2)
    marked = max(marked, three.log_status(mirror)["dirty"])
    three.kill()
    reader = one.load("read", mirror.path, seconds=14, from_mib=8, span_mib=16, stride=64)
    wait_for("the dead node to be forgotten", lambda: len((one.log_status(mirror) or {"members": [1] * 3})["members"]) == 2)
    mirror.wait_sync(one, two)
    copied = sum(n.log_status(mirror)["counters"]["regions_copied"] for n in (one, two)) - copied_before
    say(f"node 3 had {marked} regions marked; {copied} were copied again")
    if not 0 < copied <= 34:
        raise LabError(f"{copied} regions were copied; node 3 wrote in 32")
    figures = two.expect(survivor(), "the survivor's writes")
    say(f"the survivor's longest gap: {figures['longest_gap_ms']:.0f} ms in {figures['writes']} writes")
    figures = one.expect(reader(), "the reader")
    say(f"the reader saw nothing go back in {figures['reads']} reads")
    mirror.check_legs()
    again = one.load("read", mirror.path, seconds=6, from_mib=8, span_mib=16, stride=64)
    time.sleep(2)
    lab.fail_disk("leg0", one)
    one.expect(again(), "the reader while its first leg fails")


story(tell, transport="knet")
