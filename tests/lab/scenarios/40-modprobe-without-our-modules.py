#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whoever asks for a mirror or a multipath map gets one: ours where it can be loaded, else the kernel's own. Never nothing.

    node1: dmsetup ──► request_module ──► modprobe, with the files of this tree in /etc/modprobe.d

Our modules are not there, are there, cannot be loaded, and live under another name. Then an initramfs is asked what it would bring.
"""
import os
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a scenario speaks the lab's language
from multipath import SIZE_MIB

FILES = os.path.join(TOP, "ha-configs")
OWN = {"mirror": "dm_mirror", "multipath": "dm_multipath"}
OURS = {"mirror": "dm_raid1_ext", "multipath": "dm_mpath"}


def tables(number):
    size = SIZE_MIB * 1024
    return {"mirror": f"0 {size} mirror core 1 1024 2 {number} 0 {number} {size}", "multipath": f"0 {size} multipath 0 0 1 1 round-robin 0 1 0 {number}"}


def small_tree(one, tree):
    """What is needed of the kernel's modules and no more, for depmod's sake: an emulated machine takes minutes for all of them."""
    one.run(f"mkdir -p /run/tree/kernel/drivers/scsi && cd {tree}/kernel/drivers && cp -r md /run/tree/kernel/drivers/ && cp scsi/scsi_mod.* scsi/scsi_common.* /run/tree/kernel/drivers/scsi/ && cp {tree}/modules.builtin* {tree}/modules.order /run/tree/ && "
            f"mount --bind /run/tree {tree} && depmod")


def loaded(one):
    return set(one.run("cut -d ' ' -f 1 /proc/modules").split())


def unload(one, target):
    """By the kernel's name for it. The kernel's own multipath is held by its selector."""
    one.run(f"modprobe -qr dm-round-robin; modprobe -r {OWN[target].replace('_', '-')}")


def asked_for(one, number, wanted, what):
    """A map of each is made, and goes; which module served it, and that it is unloaded by the kernel's name for it."""
    for target, table in tables(number).items():
        status, out = one.run(f"dmsetup create --noudevsync x --table '{table}' 2>&1", check=False)
        expect(status == 0, f"{what}: there is no {target}: {out}")
        module = wanted[target]
        used = one.run(f"cat /sys/module/{module}/refcnt 2>/dev/null; true").strip()
        expect(used not in ("", "0"), f"{what}: {target} is not served by {module}, but by one of {sorted(loaded(one) & {OWN[target], OURS[target]})}")
        one.run(f"modprobe {module} && modprobe {OWN[target].replace('_', '-')}")  # again, when it is there
        one.run("dmsetup remove --retry x")
        unload(one, target)
        expect(not loaded(one) & {module, OWN[target]}, f"{what}: {module} is still loaded")
    say(f"{what}: {', '.join(wanted.values())}")


def tell(lab):
    one = lab.node(1)
    one.run("modprobe loop; truncate -s 64M /run/disk; losetup /dev/loop0 /run/disk")
    number = one.run("cat /sys/block/loop0/dev").strip()
    small_tree(one, f"/lib/modules/{lab.kernel}")
    folder = f"/lib/modules/{lab.kernel}/updates/clogd"
    one.run("modprobe -r dm-mirror dm-log-userspace")
    one.run(f"cp {FILES}/modprobe.d/*.conf /etc/modprobe.d/")

    asked_for(one, number, OWN, "without our modules")

    say("with our modules")
    one.run(f"mkdir -p {folder} && cp {BUILD}/modules/{lab.kernel}/*.ko {folder}/ && depmod", timeout=600)
    asked_for(one, number, OURS, "with our modules")

    say("ours cannot be loaded")
    one.run(f"for f in {folder}/dm-raid1-ext.ko {folder}/dm-mpath.ko; do mv $f $f.good && head -c 4096 /dev/urandom > $f; done")
    asked_for(one, number, OWN, "with modules that the kernel refuses")
    one.run(f"for f in {folder}/*.good; do mv $f ${{f%.good}}; done")

    say("ours live under another name")
    one.run("modprobe dm-raid1-ext target_name=mirror-ext && modprobe dm-mpath target_name=multipath-ext")
    for target, table in tables(number).items():
        one.run(f"dmsetup create --noudevsync x --table '{table}'")
        expect(OWN[target] in loaded(one), f"{target} is not the kernel's own")
        one.run("dmsetup remove --retry x")
        unload(one, target)
    expect(not loaded(one) & {*OWN.values(), *OURS.values()}, "some are still loaded")

    say("what an initramfs brings")
    hook = f"{FILES}/initramfs-tools/clogd-modules"
    for what, wanted in (("with ours", {*OWN.values(), *OURS.values()}), ("without ours", set(OWN.values()))):
        one.run(f"rm -rf /run/initramfs && mkdir /run/initramfs && DESTDIR=/run/initramfs version={lab.kernel} verbose=n CONFDIR=/etc/initramfs-tools sh {hook}", timeout=600)
        brought = {m.split(".ko")[0].replace("-", "_") for m in one.run("find /run/initramfs -name '*.ko*' -printf '%f\\n'").split()}
        expect(wanted == brought & {*OWN.values(), *OURS.values()}, f"{what} it brings {sorted(brought)}")
        one.run(f"rm -rf {folder} && depmod", timeout=600)


story(tell, nodes=1, disks={})
