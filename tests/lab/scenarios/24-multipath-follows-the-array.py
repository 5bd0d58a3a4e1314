#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An array says by which of its two ports it is reached best, and the map follows.

    node1: ours (multipath-ext), group 1 ── port one ──┐
                                 group 2 ── port two ──┴─ a disk in memory (the kernel's own target, tcm_loop, ALUA)

The ports swap under load, one goes on standby, a path to a standby port that had failed is known to be there again, and to switch groups makes
the port ready (STPG).
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language
from multipath import *  # noqa: F403

TARGET = "/sys/kernel/config/target"
DISK = f"{TARGET}/core/rd_mcp_0/disk"
OPTIMIZED, NONOPTIMIZED, STANDBY = 0, 1, 2
PORTS = ("one", "two")


class Array:
    def __init__(self, node):
        self.node = node
        node.run(f"modprobe -qa target_core_mod tcm_loop sd_mod scsi_dh_alua; mkdir -p {DISK} && echo rd_pages={SIZE_MIB * 256} > {DISK}/control && echo 1 > {DISK}/enable && "
                 f"echo 7a3c9d1e > {DISK}/wwn/vpd_unit_serial")  # without one it tells nothing of its ports
        for i, port in enumerate(PORTS):
            way = f"{TARGET}/loopback/naa.500100000000000{i}/tpgt_1"
            node.run(f"mkdir {DISK}/alua/{port} && echo {16 + i} > {DISK}/alua/{port}/tg_pt_gp_id && echo 3 > {DISK}/alua/{port}/alua_access_type && "
                     f"mkdir -p {way} && echo naa.500100000000010{i} > {way}/nexus && mkdir {way}/lun/lun_0 && ln -s {DISK} {way}/lun/lun_0/disk && echo {port} > {way}/lun/lun_0/alua_tg_pt_gp")
        self.names = wait_for("two ways to the disk", lambda: (found := node.run("ls -d /sys/devices/*/tcm_loop_adapter_*/host*/target*/*/block/* 2>/dev/null; true").split()) and len(found) == 2
                              and [f.rsplit("/", 1)[1] for f in found])
        self.numbers = [node.run(f"cat /sys/block/{name}/dev").strip() for name in self.names]

    def set(self, one, two):
        for port, state in zip(PORTS, (one, two)):
            self.node.run(f"echo {state} > {DISK}/alua/{port}/alua_access_state")

    def state(self, port):
        return int(self.node.run(f"cat {DISK}/alua/{port}/alua_access_state"))

    def remove(self):
        for i, port in enumerate(PORTS):
            way = f"{TARGET}/loopback/naa.500100000000000{i}"
            self.node.run(f"rm {way}/tpgt_1/lun/lun_0/disk && rmdir {way}/tpgt_1/lun/lun_0 {way}/tpgt_1 {way} {DISK}/alua/{port}")
        self.node.run(f"rmdir {DISK} {TARGET}/core/rd_mcp_0 {TARGET}/loopback && rmmod tcm_loop")


def tell(lab):
    one = lab.node(1)
    load_target(one)
    array = Array(one)
    a, b = array.numbers
    ours = Map(one)
    line = f"1 alua 2 1 round-robin 0 1 0 {a} round-robin 0 1 0 {b}"

    say("the ports swap under load")
    array.set(OPTIMIZED, NONOPTIMIZED)
    expect(ours.create(f"2 group_prio alua {line}") is None, "the table is refused")
    expect("group_prio alua" in one.run("dmsetup table ours"), one.run("dmsetup table ours"))
    expect(ours.message("set_prio 1 5") != 0, "a priority was set beside the array's")
    one.run("rm -f /run/enough")
    load = one.load("write", ours.path, seconds=120, until="/run/enough", depth=4, span_mib=8, verify=True)
    wait_for("the first port to be used", lambda: ours.in_use() == 1)
    for states, group in (((NONOPTIMIZED, OPTIMIZED), 2), ((OPTIMIZED, NONOPTIMIZED), 1), ((STANDBY, OPTIMIZED), 2), ((OPTIMIZED, NONOPTIMIZED), 1)):
        array.set(*states)
        wait_for(f"group {group} to be used, the ports are {states}", lambda g=group: ours.in_use() == g and ours.states() == ["active"] * 2)
    expect([g["priority"] for g in ours.json()["groups"]] == [50, 10], ours.ask("explain"))

    say("a way to a port on standby fails and is known to be back")
    array.set(STANDBY, OPTIMIZED)
    wait_for("group 2 to be used", lambda: ours.in_use() == 2 and ours.states() == ["active"] * 2)
    one.run(f"echo offline > /sys/block/{array.names[0]}/device/state")
    ours.message("switch_group 1")  # which cannot be used
    wait_for("the first path to fail", lambda: ours.states()[0] != "active" and ours.in_use() == 2)
    one.run(f"echo running > /sys/block/{array.names[0]}/device/state")
    wait_for("it to be back", lambda: ours.states() == ["active"] * 2)
    expect(ours.in_use() == 2, ours.ask("explain"))
    one.run("touch /run/enough")
    one.expect(load(), "writes while the ports changed")
    ours.remove()

    say("whoever switches the group makes the port ready")
    array.set(STANDBY, OPTIMIZED)
    ours.create(f"0 {line}")
    ours.message("switch_group 1")
    one.run(f"timeout 60 dd if={ours.path} of=/dev/null bs=4k count=4 iflag=direct 2>&1")
    expect(ours.in_use() == 1 and array.state("one") == OPTIMIZED, f"port one has state {array.state('one')}: {ours.ask('explain')}")
    ours.remove()
    one.run("rmmod dm_mpath")
    array.remove()


story(tell, nodes=1, disks={})
