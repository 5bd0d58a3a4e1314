#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every node loses power at once while all of them write.

    node1   node2   node3      all write 4 MiB each, all lose power, all come back
       \\      |      /
        leg0, leg1, log

After the restart only what was marked is copied, and the legs are identical.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    lab.start_cluster()
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    for n in lab.nodes:
        n.throttle("leg1", 400000)
    for i, n in enumerate(lab.nodes):
        n.load("write", mirror.path, seconds=60, from_mib=16 * i, span_mib=4, depth=8)
    time.sleep(6)
    for n in lab.nodes:
        n.kill()
    say(f"regions that differ: {mirror_differ(mirror)}")
    lab.boot(*lab.nodes)
    lab.start_cluster()
    mirror.create()
    mirror.wait_sync()
    copied = sum(n.log_status(mirror)["counters"]["regions_copied"] for n in lab.nodes)
    say(f"{copied} regions were copied; 24 were written")
    if not 0 < copied <= 27:
        raise LabError(f"{copied} regions were copied")
    mirror.check_legs()
    mirror.remove()


def mirror_differ(mirror):
    return len(mirror.legs_identical())


story(tell)
