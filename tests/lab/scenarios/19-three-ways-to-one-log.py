#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""One mirror, one log, three ways to it, as during an upgrade.

    node1                        node2                       node3
    our target, the line that    the kernel's own target,    the kernel's own target,
    libdevmapper emits           netlink                     log `cluster`
         \\__________________________ | ________________________/
                            leg0, leg1, log

All write during the first copy. The node with netlink dies while it writes, then the one with the channel. What they had marked is copied,
the legs are identical.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    lab.fill("leg0")
    one, two, three = lab.nodes
    one.use_our_mirror()
    three.run(f"modprobe dm-log; insmod {BUILD}/modules/{lab.kernel}/dm-log-cluster.ko; modprobe dm-mirror")
    lab.start_cluster()
    mirror = Mirror(lab)
    for node in (one, three):
        node.wait_for_channel()
    mirror.create(one, two)
    three.run(f"dmsetup create {mirror.name} --table '{mirror.table().replace('userspace', 'cluster').replace('clustered-', '')}'")
    ways = [node.log_status(mirror)["kernel"] for node in lab.nodes]
    if ways != ["channel", "netlink", "channel"]:
        raise LabError(f"the kernels use {ways}")
    table = one.run(f"dmsetup table {mirror.name}")
    if f"userspace 4 {mirror.uuid} clustered-disk" not in table:
        raise LabError(f"node 1 shows another table than it was given: {table}")
    loads = [(n, n.load("write", mirror.path, seconds=8, span_mib=32, depth=4, share=f"{i}/3", stride=5, verify=True)) for i, n in enumerate(lab.nodes)]
    for n, load in loads:
        n.expect(load(), f"node {n.number}'s writes during the first copy")
    mirror.wait_sync()
    mirror.check_legs()

    say("the node with netlink dies, then the one with the channel")
    for number, (dies, writes) in enumerate(((two, three), (one, three))):
        dies.throttle("leg1", 400000)
        dies.load("write", mirror.path, seconds=60, from_mib=32, span_mib=4, depth=16, base=(number + 1) << 32)
        load = writes.load("write", mirror.path, seconds=10, span_mib=8, depth=4, base=(number + 1) << 32, verify=True)
        time.sleep(3)
        dies.kill()
        if not mirror.legs_identical():
            raise LabError("the crash left no difference: it shows nothing")
        writes.expect(load(), f"node {writes.number}'s writes when node {dies.number} dies")
        if number == 0:
            mirror.wait_sync(one, three)
            lab.boot(two)
            lab.start_cluster(two)
            mirror.create(two)
    mirror.wait_sync(two, three)
    mirror.check_legs()


story(tell)
