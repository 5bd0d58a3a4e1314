#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's multipathd makes, watches and changes maps of our target as it does with the kernel's own, which it stands in for.

    multipathd ──► multipath (ours) ── group of port one ──┐
                                       group of port two ──┴─ a disk in memory (the kernel's own target, tcm_loop, ALUA)

The map is made by priorities, the daemon brings I/O to the better port and back, fails and reinstates paths, switches groups, takes paths
away and adds them, and lets I/O wait when all are gone. libvirt's pool of multipath maps lists it.
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language
from multipath import *  # noqa: F403

class Daemon:
    def __init__(self, node):
        self.node = node
        start_multipathd(node, "no_path_retry queue")

    def do(self, command):
        answer = self.node.run(f"multipathd {command}").strip()
        expect(answer == "ok", f"multipathd {command}: {answer}")

    def map(self):
        maps = json.loads(self.node.run("multipathd show maps json"))["maps"]
        return maps[0] if maps else None

    def groups(self):
        """Of each: state, priority, and each path's kernel state and checker's state."""
        found = self.map()
        return [(g["dm_st"], g["pri"], [(p["dm_st"], p["chk_st"]) for p in g["paths"]]) for g in found["path_groups"]] if found else []

    def wait(self, what, groups):
        wait_for(f"{what}: {groups}", lambda: sorted(self.groups()) == sorted(groups))


UP, DOWN = ("active", "ready"), ("failed", "faulty")


def tell(lab):
    one = lab.node(1)
    one.use_guest_packages()
    load_target(one, "multipath")
    array = Array(one, decides_alone=True)
    array.set(OPTIMIZED, NONOPTIMIZED)

    say("multipathd makes a map of the two paths")
    daemon = Daemon(one)
    daemon.wait("both paths", [("active", 50, [UP]), ("enabled", 10, [UP])])
    ours = Map(one, name=daemon.map()["name"])
    expect(set(ours.states()) == {"active"}, ours.ask("explain"))  # no other target has this message
    listed = one.run("multipath -ll")
    expect(all(word in listed for word in (ours.name, "LIO-ORG", "hwhandler='1 alua'", "prio=50 status=active", "prio=10 status=enabled", *array.names)), listed)
    enough = one.keep_writing(ours.path)

    say("the ports swap, and swap back")
    array.set(NONOPTIMIZED, OPTIMIZED)
    daemon.wait("the other port", [("active", 50, [UP]), ("enabled", 10, [UP])])
    wait_for("the other path in use", lambda: uses(ours, array.numbers[1]))
    array.set(OPTIMIZED, NONOPTIMIZED)
    wait_for("the first path in use", lambda: uses(ours, array.numbers[0]))
    daemon.wait("the first port", [("active", 50, [UP]), ("enabled", 10, [UP])])

    say("a path fails and is back")
    array.path(0, "offline")
    daemon.wait("one path", [("active", 10, [UP]), ("enabled", 0, [DOWN])])
    array.path(0, "running")
    wait_for("the failback", lambda: uses(ours, array.numbers[0]))
    daemon.wait("both paths", [("active", 50, [UP]), ("enabled", 10, [UP])])

    say("what the daemon is told to do")
    daemon.do(f"fail path {array.names[0]}")
    expect(not uses(ours, array.numbers[0]), ours.ask("explain"))
    daemon.do(f"reinstate path {array.names[0]}")
    wait_for("the failback", lambda: uses(ours, array.numbers[0]))
    expect(ours.message(f"fail_path {array.numbers[0]}") == 0, "the path cannot be failed")
    wait_for("the daemon to undo that", lambda: uses(ours, array.numbers[0]) and ours.states() == ["active"] * 2)
    daemon.do(f"switchgroup map {ours.name} group 2")
    daemon.do(f"suspend map {ours.name}")
    daemon.do(f"resume map {ours.name}")

    say("a path goes and another comes")
    daemon.do(f"del path {array.names[1]}")
    wait_for("one path", lambda: len(ours.paths()) == 1)
    daemon.do(f"add path {array.names[1]}")
    daemon.wait("both paths", [("active", 50, [UP]), ("enabled", 10, [UP])])

    say("all paths fail, and writes wait")
    array.paths("offline")
    wait_for("both to have failed", lambda: [path for _, _, paths in daemon.groups() for path in paths] == [DOWN, DOWN])
    for port in (1, 0):
        array.path(port, "running")
    daemon.wait("both paths", [("active", 50, [UP]), ("enabled", 10, [UP])])
    enough("writes while multipathd changed the map")

    say("libvirt lists the map")
    # Of its drivers that for storage alone: the others want what no lab machine has.
    one.run("find /usr/lib/x86_64-linux-gnu/libvirt/connection-driver -name '*.so' ! -name '*_storage.so' -delete; (setsid libvirtd > /var/log/libvirtd.log 2>&1 < /dev/null &)")
    wait_for("libvirtd", lambda: one.run("virsh -c storage:///system pool-list 2>&1", check=False)[0] == 0)
    one.run("virsh -c storage:///system pool-create-as paths mpath --target /dev/mapper")
    listed = one.run("virsh -c storage:///system vol-list paths")
    kernel_name = one.run(f"basename $(readlink -f {ours.path})").strip()
    expect(kernel_name in listed.split(), listed)

    say("the map goes")
    one.run("pkill -x libvirtd")
    stop_multipathd(one)  # which would make it anew
    one.run(f"multipath -f {ours.name}")
    expect(ours.name not in one.run("dmsetup ls"), "a map is left")
    one.run("rmmod dm_mpath")
    array.remove()


def uses(ours, number):
    return any(g["current"] and any(p["device"] == number for p in g["paths"]) for g in ours.json()["groups"])


story(tell, nodes=1, disks={})
