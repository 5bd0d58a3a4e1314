#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of our mirror target come and go.

    node1: mirror (dm-raid1-ext), log `disk` or `core`
      │
     leg0, leg1, log

Under load the mirror is suspended and resumed, its table is reloaded, also with a leg failed and its writes held, and it grows. Then it is created
and removed again and again; one has nine legs. No write fails, the module cannot be removed while it is in use, and wrong tables are refused with a reason. In a debug
kernel memory runs out now and then, too: a table is refused then, and writes go on.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def without_memory(lab, *mirrors):
    one = lab.node(1)
    one.run("cd /sys/kernel/debug/failslab; echo N > ignore-gfp-wait; echo 0 > verbose")
    for mirror in mirrors:
        _, sectors, target, words = mirror.table().split(" ", 3)
        say(one.run(f"/usr/bin/python3 {HERE}/starve.py starved {sectors} {target} {words}", timeout=600).strip())
    # Each tenth allocation of whoever writes fails.
    mirror = mirrors[0]
    mirror.create()
    load = one.load("write", mirror.path, seconds=6, depth=8, span_mib=16, base=300000, verify=True)
    time.sleep(1)
    one.run("for task in /proc/$(pgrep -f load.py | head -1)/task/*; do echo 1 > $task/make-it-fail; done; cd /sys/kernel/debug/failslab; "
            "echo Y > ignore-gfp-wait; echo Y > task-filter; echo -1 > times; echo 1 > interval; echo 10 > probability")
    one.expect(load(), "writes while allocations fail")
    one.run("echo 0 > /sys/kernel/debug/failslab/probability")
    mirror.remove()


def nine_legs(lab):
    one = lab.node(1)
    size = 2 * MIB
    slices = [(f"leg{i % 2}", i // 2 * size) for i in range(9)]
    one.run(f"dmsetup create nine --table '0 {size // 512} {lab.target} core 1 1024 9 {' '.join(f'{lab.path(disk)} {start // 512}' for disk, start in slices)}'")
    wait_for("nine legs in sync", lambda: "4/4" in one.run("dmsetup status nine"))
    one.run("dd if=/dev/urandom of=/dev/mapper/nine bs=64k seek=5 count=20 oflag=direct 2>&1; dmsetup remove --retry nine")
    contents = set()
    for disk, start in slices:
        with open(lab.disks[disk], "rb") as f:
            f.seek(start)
            contents.add(f.read(size))
    expect(len(contents) == 1 and any(contents.pop()), "the nine legs differ")


def tell(lab):
    one = lab.node(1)
    if not lab.ours:
        one.use_our_mirror(idle_ms=500)
    mirror = LocalMirror(lab, size_mib=48, extra="nosync")
    mirror.create()

    def reload():
        mirror.reload(suspend="--noflush --nolockfs")

    load = one.load("write", mirror.path, seconds=8, depth=4, span_mib=16, verify=True)
    for _ in range(8):
        one.run(f"dmsetup suspend --nolockfs {mirror.name} && dmsetup resume {mirror.name}")
        reload()
    status, out = one.run("rmmod dm_raid1_ext", check=False)
    if status == 0:
        raise LabError("the module was removed while it is in use")
    one.expect(load(), "writes across suspends and reloads")
    mirror.wait_sync()
    mirror.check_legs()

    say("a leg fails, its writes are held, and a new table takes them")
    enough = one.keep_writing(mirror.path, span_mib=16, base=100000)
    lab.fail_disk("leg1")
    wait_for("the leg to be told as failed", lambda: "D" in mirror.status()[1])
    lab.restore_disk("leg1")
    reload()
    enough("writes across the failure")
    mirror.wait_sync()
    mirror.check_legs()

    say("the mirror grows")
    mirror.sectors = lab.sizes["leg0"] // 512
    mirror.regions = lab.sizes["leg0"] // mirror.region
    load = one.load("write", mirror.path, seconds=4, depth=4, span_mib=16, base=200000, verify=True)
    reload()
    one.expect(load(), "writes while it grew")
    mirror.wait_sync()
    one.run(f"dd if=/dev/urandom of={mirror.path} bs=1M seek=50 count=4 oflag=direct 2>&1; blkdiscard -o 1M -l 9M {mirror.path} 2>&1; sync")
    mirror.remove()

    say("created and removed again and again")
    core = LocalMirror(lab, name="m1", log=None, size_mib=48, extra="nosync")
    write = "dd if=/dev/zero of=/dev/mapper/%s bs=64k count=4 oflag=direct 2>/dev/null && dmsetup remove --retry %s"
    one.run(f"for i in $(seq {3 if DEBUG_KERNEL else 25}); do dmsetup create m0 --table '{mirror.table()}' && {write % ('m0', 'm0')} && "
            f"dmsetup create m1 --table '{core.table()}' && {write % ('m1', 'm1')} || exit 1; done", timeout=600)

    say("nine legs")
    nine_legs(lab)
    if DEBUG_KERNEL:
        without_memory(lab, mirror, core)
    legs = f"2 {lab.path('leg0')} 0 {lab.path('leg1')} 0"
    for table, reason in ((f"core 2 1000 nosync {legs}", "Error creating mirror dirty log"), (f"core 2 1024 nosync 1 {lab.path('leg0')} 0", "Invalid number of mirrors"),
                          (f"core 2 1024 nosync 10 {legs} {legs} {legs} {legs} {legs}", "Invalid number of mirrors"),
                          (f"core 2 1024 nosync 2 {lab.path('leg0')} 0", "Too few mirror arguments"), (f"core 2 1024 nosync {legs} 1 fly", "Unrecognised feature requested"),
                          (f"core 2 1024 nosync {legs} 1 keep_log", "keep_log feature requires the handle_errors feature"), (f"core 9 1024 {legs}", "Insufficient mirror log arguments"),
                          (f"core 2 1024 nosync 2 {lab.path('leg0')} 0 {lab.path('leg0')} 512", "Two legs are on the same sectors"), (f"core 2 1024 nosync 2 /dev/nothing 0 {lab.path('leg1')} 0", "Device lookup failure"),
                          (f"cluster 4 u disk {lab.path('log')} 1000 {legs}", "region size is not a power of two"), (f"cluster 2 u core {legs}", "expected <uuid> disk"),
                          (f"cluster 4 u disk {lab.path('log')} 1024 {legs}", "clogd is not running")):
        one.run("dmesg -C")
        status, out = one.run(f"dmsetup create bad --table '0 {mirror.sectors} {lab.target} {table}'", check=False)
        told = one.run("dmesg")
        if status == 0 or reason not in told:
            raise LabError(f"'{table}' was answered with {status}, {told}; expected: {reason}")


story(tell, nodes=1)
