#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A leg that does not have an operation is no worse for it; who polls for the end of a write gets it (our target).

    node1: mirror (dm-raid1-ext), log `disk`, then `cluster`
      │
     weak0, weak1 (scsi_debug: they say that they can write zeroes and discard, and refuse when they are asked), leg0

Both legs refuse, then one refuses what the other does: no leg is given up, the zeroes are written some other way, and
the legs are equal afterwards. Then the legs are disks that are polled: what is sent to them is not, for nobody knows of
it but the mirror.
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


class WeakDisks:
    """Two in memory. What is longer than four KiB they write the usual way alone."""

    def __init__(self, lab):
        self.node = lab.node(1)
        self.devices = self.node.scsi_disks(2, f"per_host_store=1 dev_size_mb={lab.sizes['leg0'] // MIB} lbpws=1 lbprz=0 write_same_length=65535")
        for number, device in enumerate(self.devices):
            self.node.run(f"ln -s /dev/{device} {lab.path(f'weak{number}')}")
        self.forget()

    def forget(self):
        """Nobody has asked them yet."""
        for device in self.devices:
            self.node.run("echo 65535 > /sys/module/scsi_debug/parameters/write_same_length; "
                          f"echo 65535 > $(ls -d /sys/block/{device}/device/scsi_disk/*)/max_write_same_blocks; echo writesame_16 > $(ls -d /sys/block/{device}/device/scsi_disk/*)/provisioning_mode")
            for what in ("write_zeroes", "discard"):
                expect(self.offers(device, what), f"{device} does not say that it has {what}: this shows nothing")
        self.node.run("echo 8 > /sys/module/scsi_debug/parameters/write_same_length")

    def offers(self, device, what):
        return int(self.node.run(f"cat /sys/block/{device}/queue/{what}_max_bytes")) > 0


def refused(lab, disks, mirror):
    one = lab.node(1)

    def copied():
        words = mirror.message("stats").split()
        return int(words[words.index("regions_copied") + 1]) if not lab.ours else sum(log["counters"]["regions_copied"] for log in one.status()["logs"])
    disks.forget()
    mirror.create()
    mirror.wait_sync()
    one.run(f"dd if=/dev/urandom of={mirror.path} bs=1M count=4 oflag=direct 2>&1")
    for what in ("-z", ""):
        before = copied()
        status, out = one.run(f"timeout 60 blkdiscard {what} -o {REGION} -l {2 * REGION} {mirror.path} 2>&1", check=False)
        expect(status == 0 or not what, f"blkdiscard {what}: {out}")
        wait_for("what may differ to be copied", lambda: copied() > before)
        mirror.wait_sync()
        health = one.run(f"dmsetup status {mirror.name}").split()[8 + len(mirror.legs) - 2]
        expect(health == "AA", f"a leg was given up for what it does not have: {health}")
        one.run(f"dd if=/dev/urandom of={mirror.path} bs=64k count=1 oflag=direct 2>&1")
        if what:
            expect(one.run(f"dd if={mirror.path} bs={REGION} skip=1 count=2 iflag=direct 2> /dev/null | tr -d '\\0' | wc -c").strip() == "0", "zeroes were promised")
    say("nobody is asked again")
    before = mirror.message("stats")
    one.run(f"timeout 60 blkdiscard -z -o {4 * REGION} -l {REGION} {mirror.path} 2>&1")
    words = mirror.message("stats").split()
    expect(words[words.index("regions_copied") + 1] == before.split()[words.index("regions_copied") + 1], "a region is copied though no leg was asked")
    mirror.remove()
    one.run(f"echo 3 > /proc/sys/vm/drop_caches; cmp -n {mirror.sectors * 512} {lab.path(mirror.legs[0])} {lab.path(mirror.legs[1])}")
    expect(not disks.offers(disks.devices[1], "write_zeroes"), "the disk has refused nothing: this shows nothing")


def polled(lab):
    one = lab.node(1)
    one.run("modprobe null_blk nr_devices=2 poll_queues=1 gb=1")
    for number in (0, 1):
        one.run(f"ln -s /dev/nullb{number} {lab.path(f'polled{number}')}")
    mirror = LocalMirror(lab, name="m2", legs=("polled0", "polled1"), size_mib=16, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    status, out = one.run(f"timeout 100 fio --name=x --filename={mirror.path} --direct=1 --ioengine=io_uring --hipri=1 --rw=randrw --bs=4k --iodepth=4 --size=16m --number_ios=200 2>&1", check=False)
    expect(status == 0 and mirror.status()[1] == "AA", f"{mirror.status()} {out}")
    mirror.remove()


def tell(lab):
    one = lab.node(1)
    one.use_our_mirror(idle_ms=500)
    disks = WeakDisks(lab)
    size = lab.sizes["leg0"] // MIB
    say("both legs refuse")
    refused(lab, disks, LocalMirror(lab, legs=("weak0", "weak1"), size_mib=size, extra="nosync"))
    say("one leg refuses")
    refused(lab, disks, LocalMirror(lab, legs=("leg0", "weak1"), size_mib=size, extra="nosync"))
    if not lab.kernel.startswith("6.1."):  # which polls only for what never waits
        say("polled")
        polled(lab)
    say("with a cluster log, both legs refuse")
    lab.ours = True
    lab.start_cluster()
    refused(lab, disks, Mirror(lab, legs=("weak0", "weak1"), size_mib=size, extra="nosync", name="m1"))
    say("with a cluster log, one leg refuses")
    refused(lab, disks, Mirror(lab, legs=("leg0", "weak1"), size_mib=size, extra="nosync", name="m3"))


story(tell, nodes=1, disks={"leg0": 16 * MIB, "log": 4 * MIB})
