#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Where no leg of a mirror holds anything, there is nothing to copy.

    node1: mirror (log in memory), clogd
             │        │
           thin     thin      disks in memory (scsi_debug) that tell what they hold: whole, from an offset on, as partitions, below multipath maps

What lies on one of them alone is copied, wherever it is. All that is left out is counted, and the legs are identical.
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language
from multipath import load_target

SIZE_MIB, START_MIB = 48, 8
CHUNK = MIB  # what is looked at at once


class ThinMirror(Mirror):
    """Over legs that are no disks of the lab."""

    def __init__(self, lab, name, devices, start_mib=0):
        super().__init__(lab, name=name, log=None, size_mib=SIZE_MIB)
        self.devices, self.start = devices, start_mib * 2048

    def leg_words(self):
        return " ".join(f"{device} {self.start}" for device in self.devices)


def put(node, disk, at):
    """Something at the end of a megabyte, where a look at its beginning does not find it."""
    node.run(f"dd if=/dev/urandom of=/dev/{disk} bs=4k seek={at // 4096 + 200} count=3 oflag=direct conv=notrunc 2>&1")


def partition(node, disk):
    """One, of type Linux, from START_MIB on."""
    node.run(f"/usr/bin/python3 -c 'import os,struct; f=os.open(\"/dev/{disk}\", os.O_WRONLY); "
             f"os.pwrite(f, bytes(446) + struct.pack(\"<B3sB3sII\", 0, bytes(3), 0x83, bytes(3), {START_MIB * 2048}, {SIZE_MIB * 2048}) + bytes(48) + b\"\\x55\\xaa\", 0); os.fsync(f)'; "
             f"blockdev --rereadpt /dev/{disk}")


def first_copy(lab, name, disks, devices, start_mib=0, offset_mib=0):
    """Of two empty disks: `offset_mib` is where the devices begin on them."""
    one = lab.node(1)
    begin = (start_mib + offset_mib) * MIB
    here = ((disks[0], 3), (disks[1], 7), (disks[0], 30), (disks[1], 30), (disks[0], SIZE_MIB - 1))
    for disk, at in here:
        put(one, disk, begin + at * MIB)
    mirror = ThinMirror(lab, name, devices, start_mib)
    mirror.create()
    mirror.wait_sync()
    status = one.log_status(mirror)
    say(f"{name}: {status['bytes_copied'] // 1024} KiB copied, {status['bytes_skipped'] // 1024} KiB left out")
    expect(status["bytes_copied"] + status["bytes_skipped"] == SIZE_MIB * MIB, "copied and left out are not all of it")
    expect(0 < status["bytes_copied"] <= 2 * 4 * CHUNK, "not only what holds something was copied")  # each may lie in two chunks
    mirror.remove()
    one.run(f"echo 3 > /proc/sys/vm/drop_caches; cmp -i {begin} -n {SIZE_MIB * MIB} /dev/{disks[0]} /dev/{disks[1]}")
    expect(one.run(f"dd if=/dev/{disks[1]} bs=4k skip={(begin + 3 * MIB) // 4096 + 200} count=3 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c").strip() != "0", "what was there is gone")
    for disk in disks:
        one.run(f"blkdiscard -f /dev/{disk}")


def tell(lab):
    one = lab.node(1)
    disks = one.scsi_disks(2, f"dev_size_mb={SIZE_MIB + START_MIB} lbpu=1 lbprz=1 per_host_store=1")
    one.start_clogd("--transport solo")
    first_copy(lab, "whole", disks, [f"/dev/{d}" for d in disks])
    first_copy(lab, "offset", disks, [f"/dev/{d}" for d in disks], start_mib=START_MIB)
    for disk in disks:
        partition(one, disk)
    first_copy(lab, "partitions", disks, [one.run(f"cat /sys/block/{d}/{d}1/dev").strip() for d in disks], offset_mib=START_MIB)
    load_target(one)
    for disk in disks:
        number = one.run(f"cat /sys/block/{disk}/dev").strip()
        one.run(f"dmsetup create map-{disk} --table '0 {(SIZE_MIB + START_MIB) * 2048} multipath-ext 0 0 1 1 round-robin 0 1 0 {number}'")
    first_copy(lab, "maps", disks, [f"/dev/mapper/map-{d}" for d in disks], start_mib=START_MIB)

    say("a linear device may move: what is below it is copied whole")
    for disk in disks:
        one.run(f"dmsetup remove --retry map-{disk}; dmsetup create linear-{disk} --table '0 {SIZE_MIB * 2048} linear /dev/{disk} {START_MIB * 2048}'")
    mirror = ThinMirror(lab, "linear", [f"/dev/mapper/linear-{d}" for d in disks])
    mirror.create()
    mirror.wait_sync()
    expect(one.log_status(mirror)["bytes_skipped"] == 0, "something was left out")
    mirror.remove()


story(tell, nodes=1, disks={"leg0": 4 * MIB})
