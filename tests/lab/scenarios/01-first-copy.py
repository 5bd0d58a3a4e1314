#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Three nodes create a mirror over legs of different content, with an empty log.

    node1   node2   node3
       \\      |      /
     leg0 (random)  leg1 (random)  log (empty)

Every node copies a part; at the end the mirror is in sync on all of them and the legs are identical.
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import Mirror, LabError, say, story


def tell(lab):
    lab.fill("leg0")
    lab.fill("leg1")
    lab.start_cluster()
    mirror = Mirror(lab)
    for n in lab.nodes:  # slow enough for all of them to join in
        n.throttle("leg1", 6 << 20)
    mirror.create()
    mirror.wait_sync()
    mirror.check_legs()
    copied = [n.log_status(mirror)["counters"]["regions_copied"] for n in lab.nodes]
    say(f"regions copied by each node: {copied}")
    if sum(copied) != mirror.regions:
        raise LabError(f"{sum(copied)} regions were copied, the mirror has {mirror.regions}")
    if sum(1 for c in copied if c) < 2:
        raise LabError("one node copied everything")
    mirror.remove()


story(tell, transport="knet")
