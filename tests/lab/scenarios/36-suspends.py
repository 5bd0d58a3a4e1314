#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A mirror is suspended at every moment, and whoever suspends it may lose patience (our target).

    node1: mirror (dm-raid1-ext), log `disk`, then `cluster`
      │
     leg0, leg1, log

It is suspended and resumed again and again while it is copied and written; with a cluster log clogd talks to its worker
all the time. Then a suspend waits for a write that does not end, and is interrupted: the mirror is in use as before. A
leg fails, the writes that miss it wait and do not fail; the leg returns and is copied, and marks end.
"""
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


WAYS = "--nolockfs", "--nolockfs --noflush"


def in_a_loop(lab, mirror):
    one = lab.node(1)
    lab.fill("leg0")
    one.throttle("leg1", int(MIB / 8 / SLOW))
    mirror.create()
    enough = one.keep_writing(mirror.path, span_mib=2)
    for number in range(2 if DEBUG_KERNEL else 4):
        way = WAYS[number % 2]
        one.run(f"for i in 1 2 3 4; do dmsetup suspend {way} {mirror.name} && dmsetup message {mirror.name} 0 rate 0 && dmsetup resume {mirror.name} || exit 1; done", timeout=300)
        expect(number or not mirror.in_sync(), "the copy was over too soon: it shows nothing")
    one.throttle("leg1", 0)
    enough("writes while it was suspended again and again")
    mirror.wait_sync()
    mirror.check_legs()


def waits_for_what_is_in_flight(node):
    stack = node.run("cat /proc/$(pgrep -x dmsetup)/stack 2>&1; true")
    return "__dm_suspend" in stack and "mirror_presuspend" not in stack


def interrupt(lab, mirror, way):
    say(f"dmsetup suspend {way} is interrupted")
    one = lab.node(1)
    wait_for("every mark to end", lambda: mirror.message("regions").strip() == "")
    one.run("dmsetup suspend --nolockfs --noflush leg1")
    stuck = one.background(f"dd if=/dev/zero of={mirror.path} bs=4k count=1 oflag=direct 2>&1")
    wait_for("the write to be on its way", lambda: ":1" in mirror.message("regions"))
    suspended = one.background(f"exec dmsetup suspend {way} {mirror.name} 2>&1")
    wait_for("the suspend to wait for the write", lambda: waits_for_what_is_in_flight(one))
    one.run("pkill -INT -x dmsetup")
    status, out = suspended()
    expect(status != 0 and "SUSPENDED" not in one.run(f"dmsetup info {mirror.name}"), f"the suspend was not interrupted: {out}")
    one.run("dmsetup resume leg1")
    status, out = stuck()
    expect(status == 0, f"the write that was on its way: {out}")


def goes_on(lab, mirror, base):
    """All that a mirror in use does."""
    one = lab.node(1)

    def health():
        return one.run(f"dmsetup status {mirror.name}").split()[8]
    enough = one.keep_writing(mirror.path, span_mib=2, base=base)
    lab.fail_disk("leg1")
    wait_for("the leg to be told as failed", lambda: health() in ("AD", "AF"))
    lab.restore_disk("leg1")
    mirror.message("restore")
    enough("writes across a leg's failure")
    wait_for("the leg to be whole again", lambda: mirror.in_sync() and health() == "AA")
    wait_for("every mark to end", lambda: mirror.message("regions").strip() == "")
    mirror.check_legs()


def told(lab, mirror):
    in_a_loop(lab, mirror)
    for number, way in enumerate(WAYS):
        interrupt(lab, mirror, way)
        goes_on(lab, mirror, (number + 1) * 100000)
    mirror.remove()


def tell(lab):
    lab.node(1).use_our_mirror(idle_ms=500)
    options = {"size_mib": lab.sizes["leg0"] // MIB, "region": REGION // 4}
    told(lab, LocalMirror(lab, **options))
    say("with a cluster log")
    lab.ours = True
    lab.start_cluster()
    lab.blank_log()  # the mirror before was in sync
    told(lab, Mirror(lab, **options, name="m1"))


story(tell, nodes=1, disks={"leg0": 16 * MIB, "leg1": 16 * MIB, "log": 4 * MIB})
