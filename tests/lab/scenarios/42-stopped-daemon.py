#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""clogd is stopped, not dead, under whoever asks it.

    node1, node2: mirror, both write; node1's clogd hangs
      │     │
    leg0, leg1, log

clogctl says so and ends, whatever it was asked. Pacemaker's agent tells a daemon that hangs from one that is not there, ends it although its log is
in use, and starts another one: that takes up the log, and no write is lost.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def refused(node, status, text, command):
    code, out = node.run(f"{command} 2>&1", check=False)
    expect(code == status and text in out, f"{command}: not {status} with '{text}': {code} {out}")


def tell(lab):
    lab.start_cluster()
    one, two = lab.nodes
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    enough = [n.keep_writing(mirror.path, share=f"{n.number - 1}/2") for n in lab.nodes]
    time.sleep(2)

    say("clogd of node 1 hangs")
    first = one.run("pgrep -x clogd").strip()
    one.kill_clogd("STOP")
    for words in ("status", "status --json", "version", f"rate 100 {mirror.uuid}", f"map {mirror.uuid}", "fenced 2", "dump", "wait-sync"):
        refused(one, 3, "clogd hangs", f"{BUILD}/bin/clogctl --timeout 1 {words}")
    refused(one, 1, "does not answer", f"{AGENT} monitor")

    say("the agent ends it, and starts another one")
    refused(one, 0, "", f"{AGENT} stop")
    refused(one, 7, "", f"{AGENT} monitor")
    # One whom init has not reaped yet does not run.
    expect(one.run("pgrep -x -r R,S,D,T clogd; true").strip() == "", "the agent says that clogd is stopped while it runs")
    refused(one, 3, "clogd is not there", f"{BUILD}/bin/clogctl status")
    refused(one, 0, "", f"{AGENT} start")
    refused(one, 0, "", f"{AGENT} monitor")
    expect(one.run("pgrep -x clogd").strip() != first, "it is the same")
    wait_for("node 1 to be active", lambda: (one.log_status(mirror) or {}).get("phase") == "active")
    time.sleep(2)
    for n, end in zip(lab.nodes, enough):
        end(f"writes of node {n.number}")
    mirror.wait_sync()
    mirror.check_legs()
    refused(one, 1, "in use", f"{AGENT} stop")
    mirror.remove()
    refused(one, 0, "", f"{AGENT} stop")
    refused(one, 7, "", f"{AGENT} monitor")


story(tell, nodes=2, disks={"leg0": 64 * MIB, "leg1": 64 * MIB, "log": 4 * MIB})
