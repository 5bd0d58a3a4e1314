#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What an administrator may get wrong, and what others may throw at the daemon: one clear message each, and nothing is lost.

    node1, node2: a good mirror m0 that is written all the time; beside it, bad tables, bad log devices, garbage from netlink
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    one, two = lab.nodes[:2]

    def logged(node):
        return open(f"{node.folder}/clogd.1.log", errors="replace").read()

    def refuse(node, table, message, removed="bad"):
        node.run(f"dmsetup create bad --table '{table}' 2>&1", check=False)
        wait_for(f"the message '{message}'", lambda: message in logged(node), 20)
        say(f"told: {message}")
        node.run(f"dmsetup info {removed} > /dev/null 2>&1 && dmsetup remove --retry {removed}", check=False)

    # no Corosync yet: the device is there, its I/O waits, and status says why
    one.start_clogd()
    code, text = one.run(f"{BUILD}/bin/clogctl status", check=False)
    if code != 2 or "is corosync running" not in text:
        raise LabError(f"without Corosync: {code} {text}")
    one.start_corosync()
    wait_for("the lack of quorum to show", lambda: "NO QUORUM" in one.run(f"{BUILD}/bin/clogctl status", check=False)[1])
    mirror = Mirror(lab, extra="nosync", size_mib=32)
    mirror.create(one)
    wait_for("the mirror that waits to be told", lambda: "there is no quorum" in logged(one))
    say("without quorum the mirror is there and its writes wait")
    waiting = one.load("write", mirror.path, seconds=1, span_mib=4)
    lab.start_cluster(two)
    one.expect(waiting(), "the write that waited for quorum")
    mirror.create(two)
    mirror.wait_sync(one, two)
    load = one.load("write", mirror.path, seconds=25, span_mib=8, verify=True)

    legs = "2 /dev/mapper/leg0 65536 /dev/mapper/leg1 65536 1 handle_errors"
    refuse(one, f"0 65536 mirror userspace 4 LVM-a clustered-disk /dev/mapper/small 1000 {legs}", "region size 1000 is not a power of two")
    refuse(one, f"0 65536 mirror userspace 3 LVM-b clustered-tape 1024 {legs}", "log type 'clustered-tape' is not known")
    refuse(one, f"0 65536 mirror userspace 5 LVM-c clustered-core 1024 sync nosync {legs}", "both sync and nosync are given")
    refuse(one, f"0 65536 mirror userspace 4 LVM-d clustered-disk /dev/mapper/small 1024 {legs}", "needs at least")
    refuse(one, f"0 65536 mirror userspace 4 LVM-e clustered-disk /dev/mapper/nowhere 1024 {legs}", "cannot open")
    refuse(one, f"0 65536 mirror userspace 4 LVM-f clustered-disk /dev/mapper/log 1024 {legs}", "it is the log of mirror LVM-m0 already")
    refuse(two, f"0 65536 mirror userspace 4 LVM-g clustered-disk /dev/mapper/log2 1024 {legs}", "LVM-g: in use")
    # node 1 with another table for the mirror that node 2 uses
    two.run(f"dmsetup create good --table '0 65536 mirror userspace 4 LVM-h clustered-disk /dev/mapper/log2 1024 {legs}'")
    refuse(one, f"0 32768 mirror userspace 4 LVM-h clustered-disk /dev/mapper/log2 1024 {legs}", "load the same table on every node")
    refuse(one, f"0 65536 mirror userspace 4 LVM-i clustered-disk /dev/mapper/log2 1024 {legs}", "holds the log of another mirror")
    two.run("dmsetup remove --retry good")

    before = one.status()["netlink"]
    one.run("""/usr/bin/python3 - <<'X'
import os, random, socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
s.bind((0, 0))
for i in range(500):
    body = struct.pack("IIIIHH", 7, 1, i, 0, 160, 0) + os.urandom(random.randrange(0, 400))
    try:
        s.sendto(struct.pack("IHHII", 16 + len(body), 3, 0, i, os.getpid()) + body, (0, 1 << 6))
    except OSError:
        pass
X""")
    after = one.status()["netlink"]
    say(f"netlink: {after['foreign'] - before['foreign']} messages of another process ignored")
    figures = one.expect(load(), "writes beside all this")
    say(f"{figures['writes']} writes, longest gap {figures['longest_gap_ms']:.0f} ms")
    mirror.check_legs()
    mirror.remove(one, two)


story(tell, disks={"leg0": 64 * MIB, "leg1": 64 * MIB, "log": 4 * MIB, "log2": 4 * MIB, "small": 64 << 10})
