# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths and multipath maps of a lab machine: four ways to one disk in memory (scsi_debug, hosts with one store), and maps over them."""
import json
import re

from lab import BUILD

SIZE_MIB = 32
NAMES = {"stock": "multipath", "ours": "multipath-ext"}


def load_target(node):
    node.run(f"modprobe -qa dm-mod scsi_mod; insmod {BUILD}/modules/{node.lab.kernel}/dm-mpath.ko target_name={NAMES['ours']}")


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


class Map:
    """Of the kernel's own target, or of ours."""

    def __init__(self, node, kind="ours", name=None):
        self.node, self.name, self.target = node, name or kind, NAMES[kind]
        self.path = f"/dev/mapper/{self.name}"

    def create(self, line):
        """None, or what the constructor said."""
        status, told = self.node.run(f"dmesg -C; dmsetup create --noudevsync {self.name} --table '0 {SIZE_MIB * 2048} {self.target} {line}' 2>/dev/null; status=$?; dmesg; exit $status", check=False)
        found = re.search(rf"table: \S+: {re.escape(self.target)}: (.*?)(?: \(|$)", told, re.M)
        return None if status == 0 else found.group(1) if found else "?"

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
