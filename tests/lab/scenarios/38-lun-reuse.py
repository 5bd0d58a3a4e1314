#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A path comes back as another disk: its LUN was given to somebody else while it was down. Nothing is written there.

    node1: ours ── iSCSI, two portals ── LUN 0 of each: the disk `one`, later of the second portal the disk `two`

The path stays out, and what is known of it is told, whichever way it would come back: by a try, drained no more, added. A word lets it in: reinstate_path.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a scenario speaks the lab's language
from multipath import *  # noqa: F403
from iscsi import *  # noqa: F403


def written(one, name):
    """Is there anything on this disk but zeros?"""
    return one.run(f"dd if=/dev/{name} bs=1M iflag=direct status=none | tr -d '\\0' | head -c 1 | wc -c").strip() == "1"


def stays_out(one, ours, disk, how):
    time.sleep(3)  # the next try has come and gone: what is shown is that nothing happens
    expect(ours.states() == ["active", "foreign"], f"{how}: {ours.ask('explain')}")
    said = ours.ask("explain")
    expect("another disk" in said, f"{how}: {said}")
    expect(not written(one, disk.names[1]), f"{how}: the other disk was written")


def tell(lab):
    one = lab.node(1)
    one.use_guest_packages()
    load_target(one)
    disk = Iscsi(one, STORES)
    ours = Map(one)
    expect(ours.create(f"2 probe_interval_ms 200 0 1 1 round-robin 0 2 0 {' '.join(disk.numbers)}") is None, "the table is refused")
    enough = one.keep_writing(ours.path, gently=True)

    say("a portal is down for a while: the same disk is back")
    disk.serves(1, False)
    wait_for("the path to fail", lambda: ours.states()[1] == "failed")
    disk.serves(1, True)
    wait_for("the path to be back", lambda: ours.states() == ["active"] * 2)

    say("a portal is down, and comes back with another disk")
    disk.serves(1, False)
    wait_for("the path to fail", lambda: ours.states()[1] == "failed")
    disk.swap(1, "two")
    disk.serves(1, True)
    wait_for("the path to be tried", lambda: ours.states()[1] not in ("failed", "probing"))
    stays_out(one, ours, disk, "a try")
    ours.message(f"drain_path {disk.numbers[1]}")
    ours.message(f"undrain_path {disk.numbers[1]}")
    wait_for("the path to be tried again", lambda: ours.states()[1] not in ("draining", "probing"))
    stays_out(one, ours, disk, "drained no more")
    expect(ours.message(f"remove_path {disk.numbers[1]}") == 0, "the path cannot be taken out")
    expect(ours.message(f"add_path 1 {disk.numbers[1]}") != 0, "another disk is added as a path")
    expect(len(ours.paths()) == 1 and not written(one, disk.names[1]), ours.ask("explain"))
    enough("writes while a path led to another disk")
    ours.remove()

    say("somebody says that it is right: it is")
    disk.swap(1, "one")
    expect(ours.create(f"2 probe_interval_ms 200 0 1 1 round-robin 0 2 0 {' '.join(disk.numbers)}") is None, "the table is refused")
    disk.serves(1, False)
    one.run(f"dd if={ours.path} of=/dev/null bs=4k count=8 iflag=direct 2>&1")
    wait_for("the path to fail", lambda: ours.states()[1] == "failed" or one.run(f"dd if={ours.path} of=/dev/null bs=4k count=8 iflag=direct 2>&1") is None)
    disk.swap(1, "two")
    disk.serves(1, True)
    wait_for("the path to be found to lead elsewhere", lambda: ours.states()[1] == "foreign")
    ours.message(f"reinstate_path {disk.numbers[1]}")
    expect(ours.states() == ["active"] * 2, ours.ask("explain"))
    ours.remove()
    disk.remove()
    one.run("rmmod dm_mpath")


story(tell, nodes=1, disks={})
