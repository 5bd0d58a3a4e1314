# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that a lab machine reaches by iSCSI through two portals of its own: the kernel's own target, open-iscsi's initiator."""
from lab import wait_for
from multipath import SIZE_MIB, TARGET

STORES = "one", "two"


class Iscsi:
    """Two disks in memory; the LUN of each portal is the first of them until it is said to be the other."""

    def __init__(self, node, stores=STORES[:1]):
        self.node, self.target = node, f"{TARGET}/iscsi/iqn.2026-01.lab:disk"
        self.stores = {store: f"{TARGET}/core/rd_mcp_{7 + i}/{store}" for i, store in enumerate(stores)}
        node.run("modprobe -qa target_core_mod iscsi_target_mod iscsi_tcp sd_mod; mkdir -p /var/target/pr /run/lock/iscsi")
        for i, folder in enumerate(self.stores.values()):
            node.run(f"mkdir -p {folder} && echo rd_pages={SIZE_MIB * 256} > {folder}/control && echo 1 > {folder}/enable && echo 15c5{i} > {folder}/wwn/vpd_unit_serial")
        node.run(f"mkdir -p {TARGET}/iscsi && mkdir {self.target}")
        for i in (1, 2):
            portal = self.portal(i)
            node.run(f"mkdir -p {portal}/lun/lun_0 {portal}/np/127.0.0.{i}:3260 && ln -s {self.stores[stores[0]]} {portal}/lun/lun_0/disk && cd {portal}/attrib && echo 0 > authentication && "
                     "echo 1 > generate_node_acls && echo 0 > demo_mode_write_protect && echo 1 > ../enable")
        node.run("echo InitiatorName=iqn.2026-01.lab:host > /etc/iscsi/initiatorname.iscsi && printf 'node.startup = manual\nnode.session.timeo.replacement_timeout = 2\n"
                 "node.conn[0].timeo.noop_out_interval = 1\nnode.conn[0].timeo.noop_out_timeout = 1\n' > /etc/iscsi/iscsid.conf && iscsid && iscsiadm -m discovery -t st -p 127.0.0.1 && iscsiadm -m node -l")
        self.names = node.wait_for_disks("two ways by iSCSI", 2, "/sys/devices/platform/host*/session*/target*/*/block/*")
        self.numbers = [node.run(f"cat /sys/block/{name}/dev").strip() for name in self.names]
        # Which of the portals the first disk came by does not matter.
        self.portals = [int(node.run(f"cat $(readlink -f /sys/block/{name}/device)/../../iscsi_session/session*/tpgt")) for name in self.names]

    def portal(self, number):
        return f"{self.target}/tpgt_{number}"

    def serves(self, path, truth):
        """The portal of this path."""
        self.node.run(f"echo {int(truth)} > {self.portal(self.portals[path])}/enable")

    def wait_until_down(self, path):
        wait_for("the session to be given up", lambda: self.node.run(f"cat /sys/block/{self.names[path]}/device/state").strip() not in ("running", "blocked"))

    def swap(self, path, store):
        """The LUN of this path's portal is another disk from now on."""
        lun = f"{self.portal(self.portals[path])}/lun/lun_0"
        self.node.run(f"rm {lun}/disk && ln -s {self.stores[store]} {lun}/disk")

    def remove(self):
        self.node.run("iscsiadm -m node -u && pkill -x iscsid")
        for i in (1, 2):
            portal = self.portal(i)
            self.node.run(f"echo 0 > {portal}/enable; rm {portal}/lun/lun_0/disk && rmdir {portal}/np/* {portal}/lun/lun_0 {portal}")
        self.node.run(f"rmdir {self.target} {TARGET}/iscsi")
        for folder in self.stores.values():
            self.node.run(f"rmdir {folder} {folder.rsplit('/', 1)[0]}")
