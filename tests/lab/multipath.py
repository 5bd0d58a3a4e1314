# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths and multipath maps of a lab machine: four ways to one disk in memory (scsi_debug, hosts with one store), an array with two ports (the kernel's own
target, tcm_loop, ALUA), and maps over them."""
import json
import re

from lab import BUILD, DEBUG_KERNEL, wait_for

SIZE_MIB = 32
NAMES = {"stock": "multipath", "ours": "multipath-ext"}


def load_target(node, name=NAMES["ours"]):
    node.run(f"modprobe -qa dm-mod dm-log scsi_mod; insmod {BUILD}/modules/{node.lab.kernel}/dm-mpath.ko target_name={name}")
    node.self_tested("mpath")


def start_multipathd(node, *more):
    """Debian's, with the settings of a user who wants maps by priority and I/O back on the best path at once."""
    conf = "\n".join(("defaults {", "polling_interval 1", "max_polling_interval 1", "user_friendly_names yes", "find_multipaths no", "path_grouping_policy group_by_prio", "prio alua",
                      "failback immediate", *more, "}"))
    node.run(f"cat > /etc/multipath.conf <<'X'\n{conf}\nX\n(setsid multipathd -d -v2 > /var/log/multipathd.log 2>&1 < /dev/null &)")
    wait_for("multipathd", lambda: node.run("multipathd show daemon", check=False)[1].startswith("pid"))


def stop_multipathd(node):
    node.run("pkill -x multipathd; while pgrep -x multipathd; do sleep 0.1; done")


def over(node, name, number, target="linear {} 0"):
    """A device over a path, which can hang or be slow without it; its number. Its node is there at once, whenever udev comes to it."""
    return node.run(f"dmsetup create --noudevsync {name} --table '0 {SIZE_MIB * 2048} {target.format(number)}' && dmsetup mknodes {name} && "
                    f"dmsetup info -c --noheadings -o major,minor --separator : {name}").strip()


class Paths:
    """Loads our target, too."""

    def __init__(self, node):
        self.node = node
        load_target(node)
        disks = node.scsi_disks(5, f"vpd_use_hostno=0 dev_size_mb={SIZE_MIB} max_queue=64")
        self.names = disks[:2] + disks[3:]  # each third host is an ALUA standby and takes no I/O
        self.numbers = [node.run(f"cat /sys/block/{name}/dev").strip() for name in self.names]

    def set(self, state, *which):
        for i in which or range(4):
            self.node.run(f"echo {state} > /sys/block/{self.names[i]}/device/state")


TARGET = "/sys/kernel/config/target"
OPTIMIZED, NONOPTIMIZED, STANDBY = 0, 1, 2
PORTS = ("one", "two")


class Array:
    """Two ports to one disk: in memory, or a block device. Hosts can make a port ready (STPG) unless the array alone decides."""

    def __init__(self, node, device=None, decides_alone=False):
        self.node = node
        self.core = f"{TARGET}/core/{'iblock' if device else 'rd_mcp'}_0"
        self.disk = f"{self.core}/disk"
        node.run(f"modprobe -qa target_core_mod target_core_iblock tcm_loop sd_mod scsi_dh_alua; mkdir -p {self.disk} /var/target/pr && "
                 f"echo {f'udev_path={device}' if device else f'rd_pages={SIZE_MIB * 256}'} > {self.disk}/control && echo 1 > {self.disk}/enable && "
                 f"echo 7a3c9d1e > {self.disk}/wwn/vpd_unit_serial")  # without one it tells nothing of its ports
        for i, port in enumerate(PORTS):
            way = f"{TARGET}/loopback/naa.500100000000000{i}/tpgt_1"
            node.run(f"mkdir {self.disk}/alua/{port} && echo {16 + i} > {self.disk}/alua/{port}/tg_pt_gp_id && echo {1 if decides_alone else 3} > {self.disk}/alua/{port}/alua_access_type && "
                     f"echo 0 > {self.disk}/alua/{port}/nonop_delay_msecs && "  # or a port that is not optimized answers after 100 ms
                     f"mkdir -p {way} && echo naa.500100000000010{i} > {way}/nexus && mkdir {way}/lun/lun_0 && ln -s {self.disk} {way}/lun/lun_0/disk && echo {port} > {way}/lun/lun_0/alua_tg_pt_gp")
        self.names = node.wait_for_disks("two ways to the disk", 2, "/sys/devices/*/tcm_loop_adapter_*/host*/target*/*/block/*")
        self.numbers = [node.run(f"cat /sys/block/{name}/dev").strip() for name in self.names]

    def set(self, *states):
        self.node.run("; ".join(f"echo {state} > {self.disk}/alua/{port}/alua_access_state" for port, state in zip(PORTS, states)))

    def states(self):
        return [int(x) for x in self.node.run(" ".join(["cat", *(f"{self.disk}/alua/{port}/alua_access_state" for port in PORTS)])).split()]

    def path(self, port, state):
        """Of this node to the port: `offline` or `running`."""
        self.node.run(f"echo {state} > /sys/block/{self.names[port]}/device/state")

    def paths(self, state):
        """Both."""
        for port in range(len(PORTS)):
            self.path(port, state)

    def remove(self):
        for i, port in enumerate(PORTS):
            way = f"{TARGET}/loopback/naa.500100000000000{i}"
            self.node.run(f"rm {way}/tpgt_1/lun/lun_0/disk && rmdir {way}/tpgt_1/lun/lun_0 {way}/tpgt_1 {way} {self.disk}/alua/{port}")
        self.node.run(f"rmdir {self.disk} {self.core} {TARGET}/loopback{'' if DEBUG_KERNEL else ' && rmmod tcm_loop'}")


class Map:
    """Of the kernel's own target, or of ours."""

    def __init__(self, node, kind="ours", name=None):
        self.node, self.name, self.target = node, name or kind, NAMES[kind]
        self.path = f"/dev/mapper/{self.name}"

    def table(self, line, mib):
        return f"0 {mib * 2048} {self.target} {line}"

    def create(self, line, mib=SIZE_MIB):
        """None once udev has made its node, or what the constructor said. What udev has to do for a map that went must be done: it would take away this one's node."""
        status, told = self.node.run(f"udevadm settle -t 100; dmesg -C; dmsetup create --noudevsync {self.name} --table '{self.table(line, mib)}' 2>/dev/null; status=$?; dmesg; exit $status", check=False)
        if status == 0:
            wait_for(f"{self.path}", lambda: self.node.run(f"[ ! -e {self.path} ]", check=False)[0])
        found = re.search(rf"table: \S+: {re.escape(self.target)}: (.*?)(?: \(|$)", told, re.M)
        return None if status == 0 else found.group(1) if found else "?"

    def reload(self, line, mib=SIZE_MIB, suspend="--nolockfs --noflush"):
        """Another table takes the place of the one in use."""
        self.node.run(f"dmsetup load {self.name} --table '{self.table(line, mib)}' && dmsetup suspend {suspend} {self.name} && dmsetup resume --noudevsync {self.name}")

    def message(self, text):
        return self.node.run(f"dmsetup message {self.name} 0 {text}", check=False)[0]

    def ask(self, text):
        return self.node.run(f"dmsetup message {self.name} 0 {text}")

    def json(self):
        return json.loads(self.ask("json"))

    def paths(self):
        return [path for group in self.json()["groups"] for path in group["paths"]]

    def states(self):
        return [path["state"] for path in self.paths()]

    def in_use(self):
        """The current group's number; 0: none."""
        return next((group["group"] for group in self.json()["groups"] if group["current"]), 0)

    def says(self):
        return self.node.run(f"dmsetup status {self.name}").strip()

    def remove(self):
        self.node.run(f"dmsetup remove --retry --noudevsync {self.name}")
