#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A node joins while the other two write heavily.

    node1 (writes)   node2 (writes)   node3 (joins)
         \\______________ | _____________/
                  leg0, leg1, log
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    lab.fill("leg0")
    lab.start_cluster()
    one, two, three = lab.nodes
    mirror = Mirror(lab)
    mirror.create(one, two)
    loads = [(n, n.load("write", mirror.path, seconds=15, span_mib=48, depth=8, share=f"{i}/2", stride=5, verify=True)) for i, n in enumerate((one, two))]
    time.sleep(2)
    begin = time.time()
    mirror.create(three)
    say(f"node 3 joined in {time.time() - begin:.1f} s")
    third = three.load("write", mirror.path, seconds=5, from_mib=56, span_mib=4, verify=True)
    three.expect(third(), "the joiner's writes")
    for n, load in loads:
        n.expect(load(), "writes during the join")
    mirror.wait_sync()
    mirror.check_legs()
    mirror.remove()


story(tell)
