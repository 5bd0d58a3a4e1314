#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The log disk fails under load; later it returns garbage.

    node1   node2 (its log disk fails)   node3
       \\______________ | ______________/
            leg0, leg1, log (later overwritten with noise)

A failed log disk shows in dmsetup status the way dm tools read it, and writes wait or are held, none is lost. From a log disk full
of noise no state is trusted: everything is copied.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    lab.start_cluster()
    one, two, three = lab.nodes
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    load = two.load("write", mirror.path, seconds=12, span_mib=32, verify=True)
    time.sleep(2)
    lab.fail_disk("log", two)
    wait_for("the failure to show in dmsetup status", lambda: two.run(f"dmsetup status {mirror.name}").rstrip().endswith(" D"))
    say(two.run(f"dmsetup status {mirror.name}").strip())
    code, text = two.run(f"{BUILD}/bin/clogctl status", check=False)
    if code != 2 or "log device" not in text:
        raise LabError(f"clogctl status does not tell of the failed log device ({code}): {text}")
    time.sleep(1)
    lab.restore_disk("log", two)
    wait_for("the log to work again", lambda: two.run(f"dmsetup status {mirror.name}").rstrip().endswith(" A"))
    two.expect(load(), "writes around the failure")
    for n in lab.nodes:
        n.load("write", mirror.path, seconds=60, span_mib=6, share=f"{n.number - 1}/3", base=10000)
    time.sleep(2)
    for n in lab.nodes:
        n.kill()
    say("the log disk is overwritten with noise")
    with open(lab.disks["log"], "r+b") as f:
        f.seek(4096)
        f.write(os.urandom(lab.sizes["log"] - 4096))
    lab.boot(*lab.nodes)
    lab.start_cluster()
    mirror = Mirror(lab)
    mirror.create()
    mirror.wait_sync()
    copied = sum(n.log_status(mirror)["counters"]["regions_copied"] for n in lab.nodes)
    if copied != mirror.regions:
        raise LabError(f"{copied} of {mirror.regions} regions were copied although the log was noise")
    say(f"all {copied} regions were copied")
    mirror.check_legs()
    mirror.remove()


story(tell)
