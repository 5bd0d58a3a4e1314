#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A mirror knows how many paths its legs have left, reads where they are well connected, and says whether a leg failed or the way to it.

    node1: mirror (dm-raid1-ext, log `cluster`, clogd)
             │          │
           leg0       below (linear, as a logical volume is) ── multipath (ours) ── two ways to a disk in memory
"""
import os
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
os.environ["CLOGD_LAB_TARGET"] = "ours"
from lab import *  # noqa: F403,E402 - a story speaks the lab's language
from multipath import *  # noqa: F403,E402

SECTORS = SIZE_MIB * 2048


def tell(lab):
    one = lab.node(1)
    load_target(one)
    array = Array(one)
    array.set(OPTIMIZED, OPTIMIZED)
    a, b = array.numbers
    ours = Map(one)
    expect(ours.create(f"1 queue_if_no_path 0 1 1 round-robin 0 2 0 {a} {b}") is None, "the table is refused")
    one.run(f"dmsetup create below --table '0 {SECTORS} linear {ours.path} 0'")
    mirror = Mirror(lab, legs=("leg0", "below"))
    one.start_clogd("--transport solo")
    mirror.create()
    mirror.wait_sync()

    def paths(leg=1):
        found = one.log_status(mirror)["legs"][leg].get("paths")
        return found and (found["usable"], found["total"])

    def said(text):
        return text in open(f"{one.folder}/clogd.1.log").read()

    def reads_below():
        return one.reads_of("/dev/mapper/below")

    say("how many paths there are")
    wait_for("both to be seen", lambda: paths() == (2, 2))
    expect(paths(0) is None, "a leg without a map below has paths")
    enough = one.keep_writing(mirror.path)
    array.path(0, "offline")
    wait_for("one to be missed", lambda: paths() == (1, 2))
    array.path(0, "running")
    wait_for("both to be back", lambda: paths() == (2, 2))
    enough("writes while a path was away")
    expect(paths() == (2, 2) and reads_below() > 0, "no read went below")

    say("no path is left, and reads go elsewhere")
    array.paths("offline")
    waits = one.background(f"dd if={ours.path} of=/dev/null bs=4k count=1 iflag=direct 2>&1")
    wait_for("both to be missed", lambda: paths() == (0, 2))
    table = one.run(f"{BUILD}/bin/clogctl status", check=False)[1]
    expect("1 alive by 0 of 2 paths" in table, table)
    before = reads_below()
    one.expect(one.load("read", mirror.path, seconds=2, span_mib=8)(), "reads without a path below")
    expect(reads_below() == before, f"{reads_below() - before} reads went where no path is left")
    array.paths("running")
    wait_for("both to be back", lambda: paths() == (2, 2))
    expect(waits()[0] == 0, "what waited for a path failed")

    say("writes fail: for want of a path, and on the device itself")
    ours.message("fail_if_no_path")
    array.paths("offline")
    enough = one.keep_writing(mirror.path)
    wait_for("the leg to be given up", lambda: one.log_status(mirror)["legs"][1]["state"] == "away")
    wait_for("the reason", lambda: said("leg 1 fails here because none of its 2 path(s) is left"))
    array.paths("running")
    wait_for("both paths to be back", lambda: paths() == (2, 2))
    enough("writes without the leg")
    mirror.message("restore")
    mirror.wait_sync()
    half = SECTORS // 2
    one.run(f"printf '0 {half} linear {ours.path} 0\n{half} {half} error\n' | dmsetup load below && dmsetup suspend --nolockfs --noflush below && dmsetup resume below")
    enough = one.keep_writing(mirror.path, from_mib=SIZE_MIB - 8)
    wait_for("the leg to be given up", lambda: one.log_status(mirror)["legs"][1]["state"] == "away")
    wait_for("the reason", lambda: said("leg 1 fails here though 2 of 2 path(s) work"))
    enough("writes without the leg")

    for line in ("paths", "paths 1", "paths 1 2", "paths 7 1 1", "paths 1 3 2", "paths 1 1 70000", "paths 1 x 2", "paths 1 -1 2", "paths 1 1 2 3"):
        expect(one.run(f"dmsetup message {mirror.name} 0 {line}", check=False)[0], f"'{line}' is taken")
    mirror.remove()
    one.kill_clogd("TERM")
    one.run("dmsetup remove --retry below")
    ours.remove()


story(tell, nodes=1, disks={"leg0": SIZE_MIB * MIB, "log": 4 * MIB})
