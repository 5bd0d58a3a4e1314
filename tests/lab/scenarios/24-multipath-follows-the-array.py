#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An array says by which of its two ports it is reached best, and the map follows.

    node1: ours (multipath-ext), group 1 ── port one ──┐
                                 group 2 ── port two ──┴─ a disk in memory (the kernel's own target, tcm_loop, ALUA)

The ports swap under load, one goes on standby, a path to a standby port that had failed is known to be there again, and to switch groups makes
the port ready (STPG). A persistent reservation holds on both. A port goes on standby unheard: I/O that goes there before the handler has done its work is neither lost nor
the path's fault.
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language
from multipath import *  # noqa: F403

def reserve(one, ours, *calls):
    """IOC_PR_ calls: number and structure."""
    one.run(f"""python3 - <<'X'
import fcntl, os, struct
device = os.open("{ours.path}", os.O_RDWR)
for number, layout, values in {calls}:
    for _ in range(3):  # a unit attention is told once on each path
        status = fcntl.ioctl(device, number, bytearray(struct.pack(layout, *values)))
        if status == 0:
            break
    assert status == 0, f"{{number:#x}}: {{status}}"
X""")


def reservations(one, ours, array):
    say("a persistent reservation holds on every path")
    register, take, release, key, kind = 0x401870C8, 0x401070C9, 0x401070CA, 0x7A3C, 4  # kind 4: only who is registered may read or write
    reserve(one, ours, (register, "QQII", (0, key, 0, 0)), (take, "QII", (key, kind, 0)))
    told = one.run(f"cat {array.disk}/pr/res_pr_registered_i_pts")
    expect(told.count("naa.500100000000010") == 2, f"not both paths are registered: {told}")
    for group in (2, 1):
        ours.message(f"switch_group {group}")
        one.run(f"timeout 60 dd if=/dev/zero of={ours.path} bs=4k count=4 oflag=direct 2>&1")
        expect(ours.in_use() == group and ours.states() == ["active"] * 2, ours.ask("explain"))
    reserve(one, ours, (release, "QII", (key, kind, 0)), (register, "QQII", (key, 0, 0, 0)))
    told = one.run(f"cat {array.disk}/pr/res_pr_registered_i_pts")
    expect("naa.500100000000010" not in told, f"a path is still registered: {told}")


def stale(one, ours, array, mode):
    """I/O need not wait for the handler where the port is known to take it. Known wrongly, it comes back, and waits."""
    say(f"a port that is thought to take I/O does not, {mode}")
    a, b = array.numbers
    ours.create(f"2 queue_mode {mode} 1 alua 2 1 round-robin 0 1 0 {a} round-robin 0 1 0 {b}")
    for group in (1, 2):
        ours.message(f"disable_group {group}")
    one.run(f"timeout 60 dd if={ours.path} of=/dev/null bs=4k count=4 iflag=direct 2>&1")  # the handler is given time, and that is over with this
    for group in (1, 2):
        ours.message(f"enable_group {group}")
    ours.message("switch_group 1")
    array.set(OPTIMIZED, NONOPTIMIZED)
    one.run(f"timeout 60 dd if=/dev/{array.names[1]} of=/dev/null bs=4k count=4 iflag=direct 2>&1")  # whereby the port's state is heard of
    known = f"cat /sys/block/{array.names[1]}/device/access_state"
    wait_for("the second port's state to be known", lambda: one.run(known).strip() == "active/non-optimized")
    enough = one.keep_writing(ours.path)
    wait_for("the first port to be used", lambda: ours.in_use() == 1)
    array.set(OPTIMIZED, STANDBY)
    array.path(0, "offline")
    wait_for("the second port to be used", lambda: ours.in_use() == 2 and array.states()[1] == OPTIMIZED)
    enough("writes while a port was thought to take them")  # no path at all would have failed them
    found = ours.paths()
    failures = [path["failures"] for path in found]
    expect(any(found[1]["stats"]["errors"].values()), "no write went down a path whose handler was at work: nothing is shown")
    expect(failures[0] and not failures[1], f"the paths failed so often: {failures}: {ours.ask('explain')}")
    array.path(0, "running")
    wait_for("both paths to be back", lambda: ours.states() == ["active"] * 2)
    ours.remove()


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
    enough = one.keep_writing(ours.path)
    wait_for("the first port to be used", lambda: ours.in_use() == 1)
    for states, group in (((NONOPTIMIZED, OPTIMIZED), 2), ((OPTIMIZED, NONOPTIMIZED), 1), ((STANDBY, OPTIMIZED), 2), ((OPTIMIZED, NONOPTIMIZED), 1)):
        array.set(*states)
        wait_for(f"group {group} to be used, the ports are {states}", lambda g=group: ours.in_use() == g and ours.states() == ["active"] * 2)
    expect([g["priority"] for g in ours.json()["groups"]] == [50, 10], ours.ask("explain"))

    say("a way to a port on standby fails and is known to be back")
    array.set(STANDBY, OPTIMIZED)
    wait_for("group 2 to be used", lambda: ours.in_use() == 2 and ours.states() == ["active"] * 2)
    array.path(0, "offline")
    ours.message("switch_group 1")  # which cannot be used
    wait_for("the first path to fail", lambda: ours.states()[0] != "active" and ours.in_use() == 2)
    array.path(0, "running")
    wait_for("it to be back", lambda: ours.states() == ["active"] * 2)
    expect(ours.in_use() == 2, ours.ask("explain"))
    enough("writes while the ports changed")
    ours.remove()

    say("whoever switches the group makes the port ready")
    array.set(STANDBY, OPTIMIZED)
    ours.create(f"0 {line}")
    ours.message("switch_group 1")
    one.run(f"timeout 60 dd if={ours.path} of=/dev/null bs=4k count=4 iflag=direct 2>&1")
    expect(ours.in_use() == 1 and array.states()[0] == OPTIMIZED, f"the ports have states {array.states()}: {ours.ask('explain')}")
    reservations(one, ours, array)
    ours.remove()
    for mode in ("bio", "rq"):
        stale(one, ours, array, mode)
    one.run("rmmod dm_mpath")
    array.remove()


story(tell, nodes=1, disks={})
