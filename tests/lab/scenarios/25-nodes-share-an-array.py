#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Three nodes and an array whose two controllers do not both serve well: it is not dragged back and forth.

    node1, node2, node3: a map each (feature `cluster`), group 1 ── port one ──┐
                                                         group 2 ── port two ──┴─ a disk that all share

Each node has the array as the kernel's own target over the shared disk; what one node's STPG does to it, the test does to the others', as the
array's firmware would. One node loses its way to the preferred port: one switch, for all. It is back: one switch. Two nodes have no port in
common: no switch, and one of them uses the other port as it is. Without clogd a node helps itself.
"""
import os
import sys
import threading
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
os.environ["CLOGD_LAB_TARGET"] = "ours"
from lab import *  # noqa: F403,E402 - a story speaks the lab's language
from multipath import *  # noqa: F403,E402

UUID = "MPATH-array"


class Firmware:
    """One of the ports serves; whoever makes the other one ready switches."""

    def __init__(self, arrays):
        self.arrays, self.serves, self.switches, self.going = arrays, 0, [], True
        for array in arrays:
            array.set(OPTIMIZED, NONOPTIMIZED)
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while self.going:
            for array in self.arrays:
                if self.going and array.states()[1 - self.serves] == OPTIMIZED:
                    self.serves = 1 - self.serves
                    self.switches.append(array.node.number)
                    say(f"node {array.node.number} has switched the array to port {PORTS[self.serves]}")
                    for other in self.arrays:
                        other.set(*(OPTIMIZED if port == self.serves else NONOPTIMIZED for port in (0, 1)))
            time.sleep(0.05)

    def end(self):
        self.going = False
        self.thread.join()


def tell(lab):
    lab.start_cluster(options="--dead-wait-ms 300")
    one, two, three = lab.nodes
    arrays = []
    for node in lab.nodes:
        load_target(node)
        arrays.append(Array(node, lab.path("lun")))
    maps = [Map(node) for node in lab.nodes]
    firmware = Firmware(arrays)

    def all_use(group, nodes=maps, of=maps):
        wait_for(f"group {group} to be in use", lambda: all(m.in_use() == group for m in of)
                 and (one.log_status(maps[0]) or two.log_status(maps[0]))["groups"]["in_use"] == group)

    def switched(times, why):
        expect(len(firmware.switches) == times, f"{why}: nodes {firmware.switches} have switched the array, {times} times were due\n" + "\n".join(m.ask("explain") for m in maps))

    for m, array in zip(maps, arrays):
        m.uuid = UUID
        a, b = array.numbers
        line = f"7 group_prio 2,1 failback immediate cluster {UUID} queue_if_no_path 1 alua 2 1 round-robin 0 1 0 {a} round-robin 0 1 0 {b}"
        expect((refused := m.create(line)) is None, f"the table is refused: {refused}")
        expect(f"cluster {UUID}" in m.node.run("dmsetup table ours"), m.node.run("dmsetup table ours"))
    loads = [m.node.keep_writing(m.path, gently=True, depth=2, from_mib=8 * i) for i, m in enumerate(maps)]
    all_use(1)
    switched(0, "the port that serves is the one that all prefer")

    say("node 1 loses its way to the preferred port")
    arrays[0].path(0, "offline")
    all_use(2)
    time.sleep(5)
    all_use(2)
    switched(1, "node 1 cannot use the other port")
    say("it is back")
    arrays[0].path(0, "running")
    maps[0].message(f"reinstate_path {arrays[0].numbers[0]}")
    all_use(1)
    switched(2, "all prefer it, and all can use it")

    say("nodes 1 and 2 have no port in common")
    maps[1].message(f"fail_path {arrays[1].numbers[1]}")
    arrays[0].path(0, "offline")
    wait_for("node 1 to use the other port as it is", lambda: maps[0].in_use() == 2 and "in use here alone" in maps[0].ask("explain"))
    time.sleep(3)
    expect([m.in_use() for m in maps] == [2, 1, 1], [m.in_use() for m in maps])
    switched(2, "as many nodes would lose as would win")
    table = one.run(f"{BUILD}/bin/clogctl status")
    expect("node 1 active: reaches 2, wants group 2" in table and "in use: group 1" in table, table)
    arrays[0].path(0, "running")
    maps[0].message(f"reinstate_path {arrays[0].numbers[0]}")
    all_use(1)
    maps[1].message(f"reinstate_path {arrays[1].numbers[1]}")
    switched(2, "everybody is back")

    say("clogd is killed and started again on node 2")
    two.kill_clogd()
    two.start_clogd("--dead-wait-ms 300")
    wait_for("the log to be active", lambda: (two.log_status(maps[1]) or {}).get("phase") == "active")
    all_use(1)
    switched(2, "nothing has happened to a path")

    say("without clogd node 3 helps itself")
    three.kill_clogd()
    arrays[2].path(0, "offline")
    wait_for("node 3 to use the other port", lambda: maps[2].in_use() == 2)
    wait_for("the array to be switched", lambda: len(firmware.switches) == 3)
    three.start_clogd("--dead-wait-ms 300")
    all_use(2)
    for node, enough in zip(lab.nodes, loads):
        figures = enough("writes all the time")
        say(f"node {node.number}: {figures['writes']} writes, longest gap {figures['longest_gap_ms']:.0f} ms")
    firmware.end()
    for m, array in zip(maps, arrays):
        m.remove()
        m.node.run("rmmod dm_mpath")
        array.remove()


story(tell, nodes=3, disks={"lun": SIZE_MIB * MIB})
