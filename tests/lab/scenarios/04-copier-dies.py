#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The node that copies most dies in the middle of the first copy.

    node1   node2   node3 (the others' legs are throttled, so it copies; loses power)
       \\      |      /
        leg0, leg1, log

The others take over what it had leased.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    lab.fill("leg0")
    lab.start_cluster(options="--dead-wait-ms 300")
    one, two, three = lab.nodes
    for n in lab.nodes:
        n.throttle("leg1", MIB // 2)  # slower than the slowest machine comes to look
    mirror = Mirror(lab)
    mirror.create()
    wait_for("node 3 to copy", lambda: any(r["node"] == 3 for r in one.log_status(mirror)["recovered_by"]))
    time.sleep(1)
    three.kill()
    for n in (one, two):
        n.throttle("leg1", 0)
    mirror.wait_sync(one, two)
    mirror.check_legs()


story(tell)
