#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""LVM with our mirror target installed in the place of the kernel's own, on one node.

    node1: lvcreate, lvconvert, pvmove  ->  mirror (dm-raid1-ext)
      │
     leg0, leg1, leg2, log: physical volumes

LVM asks the kernel for dm-mirror and gets ours. A mirrored volume is created, loses a leg, gets it back, is split, and is moved to another disk
while it is written; its contents stay. After that the kernel's own target has its place back.
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language

PATTERN = "for i in $(seq 48); do echo block $i; done"


def synced(node):
    return node.run("lvs --noheadings -o copy_percent vg/lv").strip() in ("100.00", "")


def tell(lab):
    one = lab.node(1)
    lvm = "export LVM_SUPPRESS_FD_WARNINGS=1; "
    folder = f"{BUILD}/modules/{lab.kernel}"
    # What `make install-modules` does, without the minute that depmod takes on an emulated machine.
    one.run(f"modprobe -r dm-mirror; echo 'install dm-mirror modprobe dm-log; insmod {folder}/dm-log-cluster.ko; insmod {folder}/dm-raid1-ext.ko' > /etc/modprobe.d/dm-raid1-ext.conf")
    one.run("mkdir -p /etc/lvm && printf 'activation { monitoring = 0 }\\ndevices { use_devicesfile = 0 }\\n' > /etc/lvm/lvmlocal.conf")
    disks = [f"/dev/disk/by-id/virtio-{d}" for d in ("leg0", "leg1", "leg2", "log")]
    for d in lab.disks:
        one.run(f"dmsetup remove {d}")

    def run(command, **options):
        return one.run(lvm + command, **options)

    run(f"vgcreate -q vg {' '.join(disks)}")
    run("lvcreate -q -y --type mirror -m 1 --mirrorlog disk -L 32M -n lv vg")
    loaded = one.run("lsmod")
    if "dm_raid1_ext" not in loaded or "dm_mirror" in loaded:
        raise LabError("LVM was not given our target")
    wait_for("the volume in sync", lambda: synced(one))
    one.run(f"({PATTERN}) > /dev/vg/lv; sync")
    digest = one.run("sha256sum < /dev/vg/lv").split()[0]

    def check(what):
        now = one.run("blockdev --flushbufs /dev/vg/lv; sha256sum < /dev/vg/lv").split()[0]
        if now != digest:
            raise LabError(f"{what}: the contents have changed")
        say(f"{what}: the contents are the same")

    run("lvconvert -q -y -m 0 vg/lv")
    check("one leg taken away")
    run("lvconvert -q -y --type mirror -m 1 --mirrorlog core vg/lv")
    wait_for("the new leg in sync", lambda: synced(one))
    check("a leg added")
    run("lvconvert -q -y -m 2 --mirrorlog core vg/lv")
    wait_for("three legs in sync", lambda: synced(one))
    check("a third leg added")
    run("lvconvert -q -y --splitmirrors 1 --name twin vg/lv")
    check("a leg split off")
    if one.run("sha256sum < /dev/vg/twin").split()[0] != digest:
        raise LabError("the leg that was split off differs")
    run("lvremove -q -y vg/twin; lvconvert -q -y -m 0 vg/lv")
    source = run("lvs --noheadings -o devices vg/lv").split("(")[0].strip()
    load = one.load("write", "/dev/vg/lv", seconds=6, depth=2, from_mib=16, span_mib=8, verify=True)
    run(f"pvmove -q -n lv {source}", timeout=200)
    one.expect(load(), "writes during pvmove")
    if source in run("lvs --noheadings -o devices vg/lv"):
        raise LabError(f"pvmove left the volume on {source}")
    run("lvextend -q -L +8M vg/lv")
    run("lvremove -q -y vg/lv; vgremove -q vg")
    one.run("rmmod dm_raid1_ext dm_log_cluster && rm /etc/modprobe.d/dm-raid1-ext.conf && modprobe dm-mirror")
    loaded = one.run("lsmod")
    if "dm_mirror" not in loaded or "dm_raid1_ext" in loaded:
        raise LabError("the kernel's own target did not get its place back")


story(tell, nodes=1, disks={"leg0": 64 * MIB, "leg1": 64 * MIB, "leg2": 64 * MIB, "log": 64 * MIB}, memory=1024)
