#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Two nodes, of which either has quorum alone (`two_node: 1`), as `pcs` sets a cluster of two up.

    node1 ──x── node2
       \\       /
      leg0, leg1, log

A node that is out of sight may be off, or may have quorum, too. Nothing that it had marked is copied, whatever the time, before somebody says that it
is off; what waits, and for whom, is shown. Both halves of a cut go on, and meet again.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def log_of(node):
    return next(iter(node.status()["logs"]), {})


def waits_for(node):
    return [w["node"] for w in log_of(node).get("waits_for", [])]


def tell(lab):
    lab.start_cluster()
    one, two = lab.nodes
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    expect(all(n.status()["corosync"]["half_is_enough"] for n in lab.nodes), "the status does not say that half of the votes are enough")
    expect(not waits_for(one), f"somebody is waited for: {log_of(one)}")

    say("a node loses power while it writes")
    two.load("write", mirror.path, seconds=60, from_mib=32, span_mib=16)
    load = one.load("write", mirror.path, seconds=20, span_mib=16, verify=True)
    wait_for("node 2 to have marked regions", lambda: log_of(two).get("dirty", 0) > 4)
    two.kill()
    wait_for("node 1 to wait for node 2", lambda: waits_for(one) == [2], 60)
    wait_for("what node 2 had marked to be known", lambda: log_of(one)["unsynced"] > 0, 30)
    copied = log_of(one)["bytes_copied"]
    time.sleep(8)  # many times --dead-wait-ms
    now = log_of(one)
    expect(now["unsynced"] > 0 and now["recovering"] == 0 and now["bytes_copied"] == copied, f"regions of node 2 were handed out: {now}")
    code, text = one.run(f"{BUILD}/bin/clogctl status", check=False)
    expect(code == 2 and "clogctl fenced 2" in text, f"the status ends with {code} and does not tell the remedy: {text}")
    say(one.expect(load(), "writes while node 2 is waited for"))

    say("it is reported as fenced")
    one.run(f"{BUILD}/bin/clogctl fenced node2")
    wait_for("every region to be in sync", lambda: log_of(one)["unsynced"] == 0, 60)
    expect(not waits_for(one), f"somebody is waited for: {log_of(one)}")

    say("it comes back, and is cut off")
    lab.boot(two)
    lab.start_cluster(two)
    mirror.create(two)
    loads = [n.load("write", mirror.path, seconds=25, from_mib=16 * i, span_mib=8, verify=True) for i, n in enumerate(lab.nodes)]
    time.sleep(3)
    two.cut()
    for node, other in ((one, 2), (two, 1)):
        wait_for(f"node {node.number} to wait for node {other}", lambda: waits_for(node) == [other], 60)
    time.sleep(4)
    for node in lab.nodes:
        status = node.status()
        expect(status["corosync"]["quorate"] and status["logs"][0]["recovering"] == 0, f"node {node.number} copies, or has no quorum: {status}")
        code, text = node.run(f"{BUILD}/bin/clogctl fenced {node.number}", check=False)
        expect(code == 2, f"a node was reported as fenced by itself: {text}")
    two.heal()
    for n, load in zip(lab.nodes, loads):
        figures = n.expect(load(), "writes around the cut")
        say(f"node {n.number}: {figures['writes']} writes, longest gap {figures['longest_gap_ms']:.0f} ms")
    mirror.wait_sync()
    expect(not waits_for(one) and not waits_for(two), "somebody is waited for")
    mirror.check_legs()
    mirror.remove()


story(tell, nodes=2, quorum="two_node: 1")
