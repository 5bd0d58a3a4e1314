#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""make demo: three real kernels share a mirror, lose a node in the middle of writing, and come out with identical legs.

    node1   node2   node3      each a virtual machine with its own kernel and clogd
       \\      |      /
      leg0, leg1, log          raw files that all of them write
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def show(node, what):
    print("    " + node.run(what, check=False)[1].strip().replace("\n", "\n    "), flush=True)


def tell(lab):
    one, two, three = lab.nodes
    lab.fill("leg0")
    lab.fill("leg1")
    say("corosync and clogd start on three nodes")
    lab.start_cluster(options="--dead-wait-ms 500")
    say("each of them activates the same mirror, over two disks of different content:")
    mirror = Mirror(lab)
    print(f"    dmsetup create {mirror.name} --table '{mirror.table()}'")
    for n in lab.nodes:
        n.throttle("leg1", 4 * MIB)
    mirror.create()
    show(two, f"{BUILD}/bin/clogctl status")
    show(two, f"{BUILD}/bin/clogctl map")
    mirror.wait_sync()
    copied = [n.log_status(mirror)["counters"]["regions_copied"] for n in lab.nodes]
    say(f"in sync; nodes 1, 2 and 3 copied {copied[0]}, {copied[1]} and {copied[2]} of {mirror.regions} regions")
    mirror.check_legs()
    say("nodes 1 and 3 write; node 3's second leg is slow, so its legs differ at any moment")
    for n in lab.nodes:
        n.throttle("leg1", 0)
    three.throttle("leg1", 500000)
    survivor = one.load("write", mirror.path, seconds=15, span_mib=8, verify=True)
    three.load("write", mirror.path, seconds=60, from_mib=32, span_mib=8, depth=8)
    time.sleep(4)
    marked = three.log_status(mirror)["dirty"]
    three.kill()
    differ = mirror.legs_identical()
    say(f"node 3 had {marked} regions marked; right now {len(differ)} regions differ between the legs")
    wait_for("node 3 to be given up", lambda: len((one.log_status(mirror) or {"members": [1] * 3})["members"]) == 2)
    mirror.wait_sync(one, two)
    figures = one.expect(survivor())
    say(f"node 1 wrote on meanwhile: {figures['writes']} writes, the longest pause {figures['longest_gap_ms']:.0f} ms, nothing lost")
    mirror.check_legs()
    show(two, f"{BUILD}/bin/clogctl status")


story(tell)
