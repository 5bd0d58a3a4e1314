#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A running mirror moves from the kernel's own target to ours, and back.

    node1: netlink ─► channel ─► netlink       node2, node3: netlink
              \\____________ leg0, leg1, log ____________/

All write. On node 1 the modules are loaded beside the kernel's own, and its table is replaced by one of our target, whose log speaks with clogd by
the channel; then the other way round. No write fails. After each change the node dies while it writes: what it had marked is copied, the legs are identical.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    one, two, three = lab.nodes
    lab.start_cluster()
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    lab.target = "mirror-ext"  # beside the kernel's own

    def go(way):
        mirror.reload(one, table=mirror.table(ours=way == "channel"))
        wait_for(f"the way by {way}", lambda: one.log_status(mirror)["kernel"] == way)

    def upgrade():
        one.use_our_mirror()
        one.wait_for_channel()

    for number, ways in enumerate((["channel"], ["channel", "netlink"])):
        say(f"under load, node 1 goes to the {' and back to '.join(ways)}")
        base = (number + 1) << 32
        loads = [(n, n.load("write", mirror.path, seconds=10, span_mib=32, depth=4, share=f"{i}/3", stride=5, base=base, verify=True)) for i, n in enumerate(lab.nodes)]
        time.sleep(2)
        upgrade()
        for way in ways:
            go(way)
            time.sleep(2)
        for n, load in loads:
            n.expect(load(), f"node {n.number}'s writes across the change")
        mirror.wait_sync()
        mirror.check_legs()

        say("it dies while it writes")
        one.throttle("leg1", 400000)
        one.load("write", mirror.path, seconds=60, from_mib=32, span_mib=4, depth=16, base=base + (1 << 31))
        load = two.load("write", mirror.path, seconds=10, span_mib=8, depth=4, base=base + (1 << 31), verify=True)
        time.sleep(3)
        one.kill()
        expect(mirror.legs_identical(), "the crash left no difference: it shows nothing")
        two.expect(load(), "node 2's writes when node 1 dies")
        mirror.wait_sync(two, three)
        mirror.check_legs()
        if number == 0:
            lab.boot(one)
            lab.start_cluster(one)
            mirror.create(one)
            mirror.wait_sync()


story(tell)
