#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Two nodes write while the mirror is copied for the first time.

    node1 (writes even blocks)   node2 (writes odd blocks)   node3 (copies)
         \\_________________________ | _______________________/
                           leg0, leg1 (random), log

No write fails, nothing acknowledged is lost, the legs are identical at the end.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    lab.fill("leg0")
    lab.fill("leg1")
    lab.start_cluster()
    mirror = Mirror(lab)
    mirror.create()
    loads = [(n, n.load("write", mirror.path, seconds=8, span_mib=48, depth=4, share=f"{i}/2", stride=37, verify=True)) for i, n in enumerate(lab.nodes[:2])]
    for n, load in loads:
        figures = n.expect(load(), "writing during the first copy")
        say(f"node {n.number}: {figures['writes']} writes, the longest {figures['longest_write_ms']:.0f} ms")
        if figures["writes"] == 0:
            raise LabError("no write ended during the first copy")
    mirror.wait_sync()
    mirror.check_legs()
    mirror.remove()


story(tell)
