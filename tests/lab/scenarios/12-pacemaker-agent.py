#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""ocf-tester tries the Pacemaker agent; then the agent refuses to stop a daemon whose log is in use.

    node1: corosync, ocf:clogd:clogd
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    one = lab.node(1)
    one.start_corosync()
    agent = f"{TOP}/ha-configs/ocf/clogd"
    options = f"-o binary={BUILD}/bin/clogd -o clogctl={BUILD}/bin/clogctl"
    out = one.run(f"OCF_ROOT=/usr/lib/ocf ocf-tester -n clogd {options} {agent} 2>&1", timeout=180)
    if "passed all tests" not in out:
        raise LabError(f"ocf-tester: {out}")
    say("ocf-tester: passed all tests")
    one.run(f"{AGENT} start")
    mirror = Mirror(lab, extra="nosync")
    mirror.create(one)
    code, text = one.run(f"{AGENT} stop 2>&1", check=False)
    if code != 1 or "in use" not in text:
        raise LabError(f"stop with a log in use: {code} {text}")
    mirror.remove(one)
    one.run(f"{AGENT} stop")
    code, _ = one.run(f"{AGENT} monitor", check=False)
    if code != 7:
        raise LabError(f"monitor after stop: {code}")


story(tell, nodes=1)
