#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What one leg cannot read is read from the other, and rewritten (our target).

    node1: mirror (dm-raid1-ext), log `disk`, then `cluster`
      │
     leg0, scarred (scsi_debug, with eight sectors that fail to be read at times)

Beneath the mirror the bad sectors hold something else than they should: only a rewrite makes the legs equal. The scarred leg is the second one, then
the primary; then it is dead altogether, and is not read any more. With a cluster log the other leg becomes the primary first. Where marks of a mirror
that was not closed are copied, the page is taken from the other leg, too.
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language

BAD_PAGE = 5 * REGION // 4096 + 12


class Scarred:
    """A disk in memory with a page that can be made unreadable."""

    def __init__(self, lab):
        self.lab, self.node, self.path = lab, lab.node(1), lab.path("scarred")
        self.device, = self.node.scsi_disks(1, f"dev_size_mb={lab.sizes['leg0'] // MIB} medium_error_start={BAD_PAGE * 8} medium_error_count=8")
        self.node.run(f"dmsetup create scarred --table '0 {lab.sizes['leg0'] // 512} linear /dev/{self.device} 0'")

    def hurt(self):
        """The page holds something else now, and cannot be read."""
        self.node.run(f"dd if=/dev/urandom of={self.path} bs=4k seek={BAD_PAGE} count=1 oflag=direct conv=notrunc 2>&1")
        self.hurt_again()
        status, _ = self.node.run(f"dd if={self.path} of=/dev/null bs=4k skip={BAD_PAGE} count=1 iflag=direct 2>&1", check=False)
        expect(status, "the page can be read: this shows nothing")

    def hurt_again(self):
        self.node.run("echo 2 > /sys/bus/pseudo/drivers/scsi_debug/opts")

    def heal(self):
        self.node.run("echo 0 > /sys/bus/pseudo/drivers/scsi_debug/opts")

    def rewritten(self):
        """Looked at past the error."""
        self.heal()
        same = self.node.run(f"dd if={self.path} bs=4k skip={BAD_PAGE} count=1 iflag=direct 2> /dev/null | cmp - /run/good", check=False)[0] == 0
        self.hurt_again()
        return same

    def equals(self, other):
        return self.node.run(f"echo 3 > /proc/sys/vm/drop_caches; cmp {self.path} {self.lab.path(other)}", check=False)[0] == 0


def read_page(node, mirror):
    node.run(f"dd if={mirror.path} of=/run/page bs=4k skip={BAD_PAGE} count=1 iflag=direct 2>&1; cmp /run/page /run/good")


def write_page(node, mirror):
    node.run(f"dd if=/dev/urandom of=/run/good bs=4k count=1 2>&1; dd if=/run/good of={mirror.path} bs=4k seek={BAD_PAGE} count=1 oflag=direct conv=notrunc 2>&1")


def wait_for_repair(mirror, before):
    wait_for("the region to be rewritten", lambda: (now := mirror.stats())["regions_repaired"] > before and now["copying"] == 0)


def in_two_pieces(lab, disk, name):
    """As a logical volume may be: a read across the seam is split down there, and the second half comes later."""
    seam, end = (BAD_PAGE + 1) * 8, lab.sizes["leg0"] // 512
    lab.node(1).run(f"modprobe dm-delay; printf '0 {seam} linear {lab.path(disk)} 0\\n{seam} {end - seam} delay {lab.path(disk)} {seam} 50\\n' | dmsetup create {name}")


def alone(lab, disk, number, legs):
    """`number`: of the scarred leg; leg0 is the other."""
    one = lab.node(1)
    mirror = LocalMirror(lab, legs=legs, size_mib=lab.sizes["leg0"] // MIB, extra="sync")
    mirror.create()
    mirror.wait_sync()
    write_page(one, mirror)
    mirror.message(f"prefer {number}")
    disk.hurt()
    across = f"of=/run/%s bs=64k skip={BAD_PAGE * 4096 // 65536} count=1 iflag=direct 2>&1"
    one.run(f"dd if={mirror.path} {across % 'mirror'}; dd if={lab.path('leg0')} {across % 'leg'}; cmp /run/mirror /run/leg")
    read_page(one, mirror)
    wait_for_repair(mirror, 0)
    stats, (in_sync, health) = mirror.stats(), mirror.status()
    expect(health == "AA" and stats["primary"] == 0 and in_sync == mirror.regions, f"{health} {stats}")
    disk.heal()
    expect(disk.equals("leg0"), "the page was not rewritten")

    say("found by a scrub")
    before = mirror.stats()["regions_repaired"]
    disk.hurt()
    report = mirror.scrub("repair")
    expect(report["unreadable"] == "1" and report["repaired"] == "1" and report["differ"] == "0", f"{report}")
    wait_for_repair(mirror, before)
    disk.heal()
    expect(disk.equals("leg0"), "the page was not rewritten")
    return mirror


def together(lab, disk, number, legs, primary):
    """The same with a cluster log; afterwards that leg is the primary."""
    lab.blank_log()  # the legs of a mirror keep their places in the eyes of its log: where they change them, it is another mirror
    mirror = Mirror(lab, legs=legs, size_mib=lab.sizes["leg0"] // MIB, uuid=f"LVM-scarred-{number}", extra="sync")
    mirror.create()
    mirror.wait_sync()
    write_page(lab.node(1), mirror)
    mirror.message(f"prefer {number}")
    disk.hurt()
    read_page(lab.node(1), mirror)
    wait_for("the region to be sent to repair", lambda: "regions_repaired 1 " in mirror.message("stats"))
    wait_for("the page to be rewritten", disk.rewritten)
    mirror.wait_sync()
    disk.heal()
    expect(disk.equals("leg0"), "the page was not rewritten")
    expect(" AA " in lab.node(1).run(f"dmsetup status {mirror.name}"), "a leg was lost over one page")
    expect(f" primary {primary} " in mirror.message("stats"), f"leg {primary} is not the primary: {mirror.message('stats')}")
    mirror.remove()


def unclosed(lab, disk):
    one = lab.node(1)
    lab.blank_log()
    mirror = Mirror(lab, legs=("scarred", "leg0"), size_mib=lab.sizes["leg0"] // MIB, uuid="LVM-unclosed")
    mirror.create()
    mirror.wait_sync()
    write_page(one, mirror)
    one.kill_clogd()
    mirror.remove()
    disk.hurt()
    one.start_clogd()
    mirror.create()
    mirror.wait_sync()
    read_page(one, mirror)
    disk.heal()
    expect(disk.equals("leg0"), "the page was not rewritten")
    mirror.remove()


def tell(lab):
    one = lab.node(1)
    one.use_our_mirror(idle_ms=500)
    lab.fill("leg0")
    disk = Scarred(lab)
    in_two_pieces(lab, "leg0", "whole")
    in_two_pieces(lab, "scarred", "split")
    say("the second leg has bad sectors")
    alone(lab, disk, 1, ("whole", "split")).remove()
    say("the primary has bad sectors")
    mirror = alone(lab, disk, 0, ("split", "whole"))

    say("the primary is dead")
    lab.fail_disk("scarred")
    one.run(f"dd if={mirror.path} of=/dev/null bs=64k iflag=direct 2>&1")
    wait_for("the leg to be left", lambda: mirror.status()[1] in ("RA", "FA"))
    expect(mirror.stats()["primary"] == 1, "a dead leg is still the primary")
    one.run(f"dmsetup load scarred --table '0 {mirror.sectors} linear /dev/{disk.device} 0' && dmsetup suspend --nolockfs --noflush scarred && dmsetup resume scarred")
    mirror.message("restore")
    expect(mirror.status()[1] == "AA", "the leg does not return")
    mirror.remove()

    lab.ours = True
    lab.start_cluster()
    say("with a cluster log, the second leg has bad sectors")
    together(lab, disk, 1, ("leg0", "scarred"), primary=0)
    say("with a cluster log, the primary has bad sectors")
    together(lab, disk, 0, ("scarred", "leg0"), primary=1)
    say("a mirror is gone unclosed; what it had marked is copied, and there the primary has bad sectors")
    unclosed(lab, disk)


story(tell, nodes=1, disks={"leg0": 16 * MIB, "log": 4 * MIB})
