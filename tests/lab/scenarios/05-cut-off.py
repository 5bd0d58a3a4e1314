#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A node is cut off from the other two while all of them write.

    node1 ──┐
    node2 ──┼── network          node3 ──x── network
       \\    |                     /
        leg0, leg1, log (the disks are reached by all)

The node that is cut off writes nothing more to any leg or log; the others go on. After healing it comes back whole, and its
waiting writes are carried out.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def written(node, disks):
    text = node.run("cat " + " ".join(f"/sys/class/block/$(basename $(readlink -f /dev/disk/by-id/virtio-{d}))/stat" for d in disks))
    return [line.split()[4] for line in text.splitlines() if line.split()]


def tell(lab):
    lab.start_cluster()
    one, two, three = lab.nodes
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    loads = [n.load("write", mirror.path, seconds=25, from_mib=16 * i, span_mib=8, verify=True) for i, n in enumerate(lab.nodes)]
    time.sleep(3)
    three.cut()
    wait_for("node 3 to know that it has no quorum", lambda: three.status()["corosync"]["quorate"] is False, 60)
    time.sleep(1.5)
    before = written(three, ("leg0", "leg1", "log"))
    others = written(one, ("leg0",))
    time.sleep(4)
    after = written(three, ("leg0", "leg1", "log"))
    if before != after:
        raise LabError(f"node 3 wrote without quorum: {before} -> {after} requests")
    say("node 3 writes nothing")
    if written(one, ("leg0",)) == others:
        raise LabError("node 1 did not go on writing")
    three.heal()
    for n, load in zip(lab.nodes, loads):
        figures = n.expect(load(), "writes around the cut")
        say(f"node {n.number}: {figures['writes']} writes, longest gap {figures['longest_gap_ms']:.0f} ms")
    mirror.wait_sync()
    mirror.check_legs()
    mirror.remove()


story(tell, transport="knet")
