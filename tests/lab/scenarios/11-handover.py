#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The log is handed to an exclusive stock mirror with a `disk` log, and back.

    node1, node2: cluster log  ->  node1 alone: the kernel's own `disk` log  ->  cluster log
                        leg0, leg1, log

After a clean close nothing is copied, either way; after a crash the stock mirror trusts nothing and copies everything.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def disk_table(lab, mirror):
    return f"0 {mirror.sectors} mirror disk 2 {lab.path('log')} {mirror.region // 512} 2 {lab.path('leg0')} 0 {lab.path('leg1')} 0 1 handle_errors"


def synced(node, name):
    words = node.run(f"dmsetup status {name}").split()
    return words[words.index("mirror") + 4]


def tell(lab):
    lab.fill("leg0")
    lab.start_cluster()
    one, two = lab.nodes[:2]
    mirror = Mirror(lab)
    mirror.create(one, two)
    one.expect(one.load("write", mirror.path, seconds=3, span_mib=16)(), "writes")
    mirror.wait_sync(one, two)
    mirror.remove(one, two)
    one.run(f"dmsetup create solo --table '{disk_table(lab, mirror)}'")
    first = synced(one, "solo")
    say(f"the stock mirror begins with {first} in sync")
    if first != f"{mirror.regions}/{mirror.regions}":
        raise LabError("the stock mirror does not trust a log that was closed cleanly")
    one.expect(one.load("write", "/dev/mapper/solo", seconds=2, span_mib=8, base=5000)(), "writes on the stock mirror")
    one.run("dmsetup remove --retry solo")
    mirror.create(one, two)
    mirror.wait_sync(one, two)
    copied = sum(n.log_status(mirror)["counters"]["regions_copied"] for n in (one, two))
    say(f"back in the cluster: {copied} regions copied")
    if copied:
        raise LabError("a log that the stock mirror closed cleanly was not trusted")
    one.load("write", mirror.path, seconds=30, span_mib=8, base=9000)
    time.sleep(2)
    for n in lab.nodes:
        n.kill()
    lab.boot(one)
    one.throttle("leg1", 2 * MIB)
    one.run(f"dmsetup create solo --table '{disk_table(lab, mirror)}'")
    after = synced(one, "solo")
    say(f"after a crash the stock mirror begins with {after} in sync")
    if int(after.split("/")[0]) > mirror.regions // 4:
        raise LabError("the stock mirror trusts a log in the cluster's format")
    one.throttle("leg1", 0)
    wait_for("the stock mirror in sync", lambda: synced(one, "solo") == f"{mirror.regions}/{mirror.regions}", 120)
    mirror.check_legs()
    one.run("dmsetup remove --retry solo")


story(tell)
