#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fifty logs at once, created and removed while another mirror is written.

    node1   node2   node3      m0 is written all the time; x0 .. x49 come and go
       \\      |      /
        leg0, leg1 (m0: the first half; x*: 512 KiB each of the second), log
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    lab.start_cluster()
    mirror = Mirror(lab, size_mib=32, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    load = lab.node(1).load("write", mirror.path, seconds=40, span_mib=24, verify=True)
    table = ("for i in $(seq 0 49); do echo \"0 1024 mirror userspace 3 LVM-x$i clustered-core 128 2 /dev/mapper/leg0 $((65536 + i * 1024)) "
             "/dev/mapper/leg1 $((65536 + i * 1024)) 1 handle_errors\" | dmsetup create x$i & done; wait; dmsetup ls --target mirror | grep -c ^x")
    for n, result in [(n, n.background(table)) for n in lab.nodes]:
        status, out = result()
        if out.split()[-1:] != ["50"]:
            raise LabError(f"node {n.number}: {out}")
    wait_for("51 logs on every node, in sync", lambda: all(
        len(s["logs"]) == 51 and all(log["phase"] == "active" and log["unsynced"] == 0 for log in s["logs"]) for s in (n.status() for n in lab.nodes)), 120)
    say("50 logs are in sync")
    for n, result in [(n, n.background("for i in $(seq 0 49); do dmsetup remove --retry x$i & done; wait")) for n in lab.nodes]:
        result()
    wait_for("the logs to be gone", lambda: all(len(n.status()["logs"]) == 1 for n in lab.nodes))
    figures = lab.node(1).expect(load(), "writes beside 50 logs")
    say(f"{figures['writes']} writes, longest gap {figures['longest_gap_ms']:.0f} ms")
    mirror.check_legs()
    mirror.remove()


story(tell)
