#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""clogd is killed with -9 and restarted under load, on every node in turn.

    node1   node2   node3      all write; clogd: kill -9, start, on one after the other
       \\      |      /
        leg0, leg1, log

No I/O error, no lost mark: afterwards all nodes lose power, and the legs come out identical.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    lab.start_cluster()
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    loads = [n.load("write", mirror.path, seconds=120, until="/run/enough", from_mib=16 * i, span_mib=8, verify=True) for i, n in enumerate(lab.nodes)]
    time.sleep(3)
    for n in lab.nodes:
        say(f"clogd dies on node {n.number}")
        n.kill_clogd()
        time.sleep(1)
        n.start_clogd()
        wait_for(f"node {n.number} to take up its log", lambda n=n: (s := n.log_status(mirror)) and s["phase"] == "active")
        time.sleep(1)
    for n in lab.nodes:
        n.run("touch /run/enough")
    for n, load in zip(lab.nodes, loads):
        figures = n.expect(load(), "writes while clogd was restarted")
        say(f"node {n.number}: {figures['writes']} writes, longest gap {figures['longest_gap_ms']:.0f} ms")
    for n in lab.nodes:
        n.load("write", mirror.path, seconds=60, span_mib=4, depth=8, share=f"{n.number - 1}/3", base=100000)
    time.sleep(3)
    for n in lab.nodes:
        n.kill()
    lab.boot(*lab.nodes)
    lab.start_cluster()
    mirror.create()
    mirror.wait_sync()
    mirror.check_legs()


story(tell)
