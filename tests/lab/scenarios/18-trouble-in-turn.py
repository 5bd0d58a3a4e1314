#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What an administrator's worst day brings, with our target and log and three legs.

    node1 (writes)   node2 (writes)   node3
        \\_______________ | ______________/
              leg0, leg1, leg2, log

The primary fails for all during the first copy: what is in sync can be read, what is not cannot, nothing is lost, and the copy ends when it is well again. clogd hangs
(SIGSTOP) on a node under load: its writes wait, the others' do not; then it is killed there and started again. The mirror grows on all nodes under load. Then it is created and removed
again and again.
"""
import os
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
os.environ["CLOGD_LAB_TARGET"] = "ours"
from lab import *  # noqa: F403,E402 - a story speaks the lab's language

CYCLES = int(os.environ.get("CYCLES", "25"))
LEGS = ("leg0", "leg1", "leg2")


def primary_fails_during_the_first_copy(lab, mirror):
    one, two, three = lab.nodes
    for node in lab.nodes:
        node.throttle("leg2", 1 << 20)
    mirror.create()
    wait_for("half of it to be copied", lambda: one.log_status(mirror)["unsynced"] < mirror.regions * 3 // 4)
    lab.fail_disk("leg0")
    for node in lab.nodes:
        node.throttle("leg2", 0)
    time.sleep(3)  # copies that were under way end
    status = one.log_status(mirror)
    if not status["unsynced"] or [leg["state"] for leg in status["legs"]] != ["alive"] * 3:
        raise LabError(f"{status['unsynced']} regions are not in sync, legs {status['legs']}")
    read = ("import os,mmap; f=os.open('%s', os.O_RDONLY|os.O_DIRECT); b=mmap.mmap(-1,4096)\n"
            "def ok(r):\n try: return os.preadv(f,[b],r*%d)==4096\n except OSError: return False\n"
            "print(sum(ok(r) for r in range(%d)))") % (mirror.path, mirror.region, mirror.regions)
    readable = int(one.run(f'/usr/bin/python3 -c "{read}"'))
    say(f"{readable} of {mirror.regions} regions can be read, {status['unsynced']} are not in sync")
    if readable != mirror.regions - status["unsynced"]:
        raise LabError("not just the regions that are not in sync cannot be read")
    lab.restore_disk("leg0")
    for node in lab.nodes:
        mirror.message("restore", node)
    mirror.wait_sync()
    mirror.check_legs()


def clogd_hangs(lab, mirror):
    one, two, three = lab.nodes
    mine = one.load("write", mirror.path, seconds=12, span_mib=8, stride=8, verify=True, base=1 << 32)
    other = two.load("write", mirror.path, seconds=12, from_mib=8, span_mib=8, stride=8, verify=True, base=1 << 32)
    time.sleep(3)
    say("clogd hangs on node 1")
    one.run("pkill -STOP -x clogd")
    time.sleep(4)
    one.run("pkill -CONT -x clogd")
    time.sleep(1)
    say("clogd dies on node 1, and is started again")
    one.kill_clogd()
    one.start_clogd()
    figures = two.expect(other(), "node 2's writes")
    say(f"node 2: longest gap {figures['longest_gap_ms']:.0f} ms")
    figures = one.expect(mine(), "node 1's writes")
    say(f"node 1: longest gap {figures['longest_gap_ms']:.0f} ms")
    mirror.wait_sync()
    mirror.check_legs()


def it_grows(lab, mirror):
    loads = [(n, n.load("write", mirror.path, seconds=10, from_mib=8 * i, span_mib=8, stride=8, verify=True, base=2 << 32)) for i, n in enumerate(lab.nodes[:2])]
    time.sleep(2)
    mirror.sectors = mirror.sectors * 2
    mirror.regions *= 2
    mirror.reload(suspend="")
    for node, load in loads:
        node.expect(load(), f"node {node.number}'s writes")
    mirror.wait_sync()
    mirror.check_legs()


def memory(node):
    """KiB: what is available, and what clogd takes."""
    return (int(node.run("grep ^MemAvailable /proc/meminfo").split()[1]), int(node.run("grep ^VmRSS /proc/$(pidof clogd)/status").split()[1]))


def again_and_again(lab, mirror):
    one = lab.node(1)
    mirror.remove()

    def cycles(count):
        one.run(f"for i in $(seq {count}); do dmsetup create {mirror.name} --table '{mirror.table()}' && dd if=/dev/zero of={mirror.path} bs=4k count=1 oflag=direct 2> /dev/null "
                f"&& dmsetup remove --retry {mirror.name} || exit 1; done", timeout=30 + 3 * count)
    cycles(5)  # what udev's workers take once is no leak
    available, daemon = memory(one)
    cycles(CYCLES)
    now_available, now_daemon = memory(one)
    say(f"{CYCLES} times: {available - now_available} KiB less are available, clogd takes {now_daemon - daemon} KiB more")
    expect(available - now_available <= 8192 + 8 * CYCLES, f"{available - now_available} KiB are gone after {CYCLES} cycles")
    expect(now_daemon - daemon <= 2048 + 2 * CYCLES, f"clogd takes {now_daemon - daemon} KiB more after {CYCLES} cycles")
    status, _ = one.run("grep -q 'dm_raid1_ext 0\\|dm_raid1_ext .* 0 ' /proc/modules && dmsetup info -c", check=False)
    if status:
        raise LabError("the target is still in use after the last removal")


def tell(lab):
    lab.fill("leg0")
    lab.start_cluster(options="--dead-wait-ms 300")
    mirror = Mirror(lab, legs=LEGS, size_mib=24)
    primary_fails_during_the_first_copy(lab, mirror)
    clogd_hangs(lab, mirror)
    it_grows(lab, mirror)
    again_and_again(lab, mirror)


story(tell, disks={**{leg: 48 * MIB for leg in LEGS}, "log": 4 * MIB})
