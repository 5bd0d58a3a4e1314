#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A map over paths as they are in the field: each time one is lost under load, and in use again without a daemon's help.

    node1: ours ── iSCSI, two portals (open-iscsi, the kernel's own target)
                ── NVMe over TCP, two ports (the kernel's own target; nvme's own multipath is off)
                ── two SCSI adapters of the machine (virtio), one of which hangs, and is unplugged
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language
from multipath import *  # noqa: F403
from iscsi import *  # noqa: F403


def lost_and_back(one, line, names, lose, regain, what):
    numbers = [one.run(f"cat /sys/block/{name}/dev").strip() for name in names]
    ours = Map(one)
    refused = ours.create(line.format(*numbers))
    expect(refused is None, f"{what}: the table is refused: {refused}")
    enough = one.keep_writing(ours.path)
    wait_for("both paths", lambda: ours.states() == ["active"] * 2)
    for i in range(2):
        lose(i)
        wait_for(f"{what}: path {i + 1} to fail", lambda i=i: ours.states()[i] != "active")
        regain(i)
        wait_for(f"{what}: path {i + 1} to be back", lambda: ours.states() == ["active"] * 2)
    figures = enough(f"{what}: writes while paths went and came")
    expect(figures["writes"] > 0, f"{what}: {figures}")
    return ours


def iscsi(one):
    say("iSCSI: a portal is closed, and open again")
    disk = Iscsi(one)
    ours = lost_and_back(one, "0 0 1 1 round-robin 0 2 0 {} {}", disk.names, lambda i: disk.serves(i, False), lambda i: disk.serves(i, True), "iSCSI")
    ours.remove()
    disk.remove()


def nvme(one):
    say("NVMe over TCP: a port is closed, and open again")
    config, name = "/sys/kernel/config/nvmet", "nqn.2026-01.lab:disk"
    subsystem = f"{config}/subsystems/{name}"
    one.run(f"modprobe nvme_core multipath=N; modprobe -qa nvmet nvmet-tcp nvme-tcp; mkdir -p {subsystem}/namespaces/1 && echo 1 > {subsystem}/attr_allow_any_host && "
            f"echo {one.lab.path('leg0')} > {subsystem}/namespaces/1/device_path && echo 1 > {subsystem}/namespaces/1/enable")
    for i in (1, 2):
        port = f"{config}/ports/{i}"
        one.run(f"mkdir {port} && cd {port} && echo tcp > addr_trtype && echo ipv4 > addr_adrfam && echo 127.0.0.{i} > addr_traddr && echo 4420 > addr_trsvcid && ln -s {subsystem} subsystems/{name} && "
                f"echo transport=tcp,traddr=127.0.0.{i},trsvcid=4420,nqn={name},reconnect_delay=1,ctrl_loss_tmo=600,fast_io_fail_tmo=1,keep_alive_tmo=5 > /dev/nvme-fabrics")
    names = one.wait_for_disks("two ways by NVMe", 2, "/sys/block/nvme*")

    def port(i):
        return one.run(f"sed 's/.*traddr=127.0.0.\\([12]\\).*/\\1/' /sys/block/{names[i]}/device/address").strip()

    ports = [port(0), port(1)]
    ours = lost_and_back(one, "2 queue_mode bio 0 1 1 queue-length 0 2 0 {} {}", names, lambda i: one.run(f"rm {config}/ports/{ports[i]}/subsystems/{name}"),
                         lambda i: one.run(f"ln -s {subsystem} {config}/ports/{ports[i]}/subsystems/{name}"), "NVMe over TCP")
    ours.remove()
    one.run("for c in /sys/class/nvme/nvme*; do echo 1 > $c/delete_controller; done")
    for i in (1, 2):
        one.run(f"rm {config}/ports/{i}/subsystems/{name}; rmdir {config}/ports/{i}")
    one.run(f"echo 0 > {subsystem}/namespaces/1/enable; rmdir {subsystem}/namespaces/1 {subsystem}")


def adapters(one):
    say("two SCSI adapters: one hangs, and goes on; one is unplugged")
    one.run("modprobe -a virtio_scsi sd_mod")
    names = one.wait_for_disks("two ways", 2, "/sys/devices/pci*/*/virtio*/host*/target*/*/block/*")  # in the adapters' order
    ways = one.lab.ways("lun")
    ours = lost_and_back(one, "2 path_timeout_ms 1000 0 1 1 latency 0 2 0 {} {}", names, lambda i: one.throttle(f"{ways[i]}-disk", 1),
                         lambda i: one.throttle(f"{ways[i]}-disk", 0), "an adapter that hangs")
    enough = one.keep_writing(ours.path)
    one.qmp("device_del", id=f"{ways[1]}-hd")
    wait_for("the path to fail", lambda: "active" not in ours.states()[1:])
    expect(ours.message(f"remove_path {ours.paths()[1]['device']}") == 0, "the path cannot be taken out")
    enough("writes while a path was unplugged")
    ours.remove()


def tell(lab):
    one = lab.node(1)
    one.use_guest_packages()
    load_target(one)
    iscsi(one)
    nvme(one)
    adapters(one)
    one.run("rmmod dm_mpath")


story(tell, nodes=1, disks={"leg0": SIZE_MIB * MIB, "lun": SIZE_MIB * MIB}, twice=("lun",))
