#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""LVM with our mirror target installed in the place of the kernel's own, on one node.

    node1: lvcreate, lvconvert, pvmove  ->  mirror (dm-raid1-ext)
      │
     leg0, leg1, leg2, log: physical volumes

LVM asks the kernel for dm-mirror and gets ours. A mirrored volume is created, converted down and up, grows and shrinks, is under a snapshot, loses a disk
and is repaired, by hand and by dmeventd, is split, and is moved to another disk; it is written meanwhile, and its contents stay. After that the kernel's
own target has its place back.
"""
import re
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language

PATTERN = "for i in $(seq 48); do echo block $i; done"


LVM = "export LVM_SUPPRESS_FD_WARNINGS=1; "
CONFIGURATION = """activation { monitoring = 0 mirror_image_fault_policy = "allocate" mirror_log_fault_policy = "allocate" }
devices { use_devicesfile = 0 filter = [ "a|^/dev/mapper/leg|", "a|^/dev/mapper/log$|", "r|.*|" ] }
"""


def synced(node):
    return node.run("lvs --noheadings -o copy_percent vg/lv 2> /dev/null").strip() in ("100.00", "")


def disks_of(node):
    """On which the volume lies, its log left aside."""
    return set(re.findall(r"/dev/mapper/(\w+)", node.run(LVM + "lvs -a --noheadings -o lv_name,devices vg | grep _mimage")))


def loses_a_disk(lab, how, repair):
    """Under load: what is written waits until LVM has put another disk in its place."""
    one = lab.node(1)
    lost = min(disks_of(one))
    writing = one.keep_writing("/dev/vg/lv", from_mib=16, base=int(time.time()))
    lab.fail_disk(lost)
    repair()
    wait_for(f"another disk in the place of {lost}", lambda: len(now := disks_of(one)) == 2 and lost not in now)
    wait_for("the volume in sync", lambda: synced(one))
    writing(f"writes while the volume was repaired {how}")
    say(f"{lost} was replaced {how}")
    lab.restore_disk(lost)
    one.run(LVM + f"vgextend -q --restoremissing vg /dev/mapper/{lost}")


def tell(lab):
    one = lab.node(1)
    folder = f"{BUILD}/modules/{lab.kernel}"
    # What `make install-modules` does, without the minute that depmod takes on an emulated machine.
    one.run(f"modprobe -r dm-mirror; echo 'install dm-mirror modprobe dm-log; insmod {folder}/dm-log-cluster.ko; insmod {folder}/dm-raid1-ext.ko' > /etc/modprobe.d/dm-raid1-ext.conf")
    one.run(f"mkdir -p /etc/lvm && cat > /etc/lvm/lvmlocal.conf <<'X'\n{CONFIGURATION}X")

    def run(command, **options):
        return one.run(LVM + command, **options)

    run(f"vgcreate -q vg {' '.join(lab.path(d) for d in lab.disks)}")
    run("lvcreate -q -y --type mirror -m 1 --mirrorlog disk -L 32M -n lv vg")
    loaded = one.run("lsmod")
    if "dm_raid1_ext" not in loaded or "dm_mirror" in loaded:
        raise LabError("LVM was not given our target")
    wait_for("the volume in sync", lambda: synced(one))
    one.run(f"({PATTERN}) > /dev/vg/lv; sync")

    def contents(volume="lv"):
        return one.run(f"blockdev --flushbufs /dev/vg/{volume}; head -c 16M /dev/vg/{volume} | sha256sum").split()[0]

    digest = contents()

    def check(what, volume="lv"):
        expect(contents(volume) == digest, f"{what}: the contents have changed")
        say(f"{what}: the contents are the same")

    def by_hand():
        wait_for("the leg to be told as failed", lambda: "D" in one.run("dmsetup status vg-lv"))
        run("lvconvert -q -y --repair vg/lv", timeout=200)

    loses_a_disk(lab, "by hand", by_hand)
    check("a disk lost, repaired by hand")
    run("sed -i 's/monitoring = 0/monitoring = 1/' /etc/lvm/lvmlocal.conf; lvchange -q --monitor y vg/lv")
    loses_a_disk(lab, "by dmeventd", lambda: None)
    check("a disk lost, repaired by dmeventd")
    run("lvchange -q --monitor n vg/lv; sed -i 's/monitoring = 1/monitoring = 0/' /etc/lvm/lvmlocal.conf")

    writing = one.keep_writing("/dev/vg/lv", from_mib=16)
    run("lvextend -q -L +8M vg/lv")
    wait_for("what was added in sync", lambda: synced(one))
    run("lvreduce -q -y -L -8M vg/lv")
    writing("writes while the volume grew and shrank")
    check("grown and shrunk")
    run("lvcreate -q -y -s -n before -L 12M vg/lv")
    writing = one.keep_writing("/dev/vg/lv", from_mib=0)
    wait_for("writes to the volume under the snapshot", lambda: contents() != digest)
    writing("writes under a snapshot")
    check("the snapshot", "before")
    run("lvconvert -q -y --merge vg/before")
    wait_for("the snapshot merged", lambda: "before" not in run("lvs -a --noheadings -o lv_name vg"))
    check("back from the snapshot")

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
    check("the leg that was split off", "twin")
    run("lvremove -q -y vg/twin; lvconvert -q -y -m 0 vg/lv")
    source = run("lvs --noheadings -o devices vg/lv").split("(")[0].strip()
    load = one.load("write", "/dev/vg/lv", seconds=6, depth=2, from_mib=16, span_mib=8, verify=True)
    run(f"pvmove -q -n lv {source}", timeout=200)
    one.expect(load(), "writes during pvmove")
    if source in run("lvs --noheadings -o devices vg/lv"):
        raise LabError(f"pvmove left the volume on {source}")
    run("lvremove -q -y vg/lv; vgremove -q vg; pkill -x dmeventd")
    one.run("rmmod dm_raid1_ext dm_log_cluster && rm /etc/modprobe.d/dm-raid1-ext.conf && modprobe dm-mirror")
    loaded = one.run("lsmod")
    if "dm_mirror" not in loaded or "dm_raid1_ext" in loaded:
        raise LabError("the kernel's own target did not get its place back")


story(tell, nodes=1, disks={"leg0": 64 * MIB, "leg1": 64 * MIB, "leg2": 64 * MIB, "log": 64 * MIB}, memory=1024)
