#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A multipath map is suspended, replaced and made larger under load, and loses its last path in every way.

    node1: ours (multipath-ext)
      │
     two to four paths to one disk in memory (scsi_debug, hosts with one store)

No write fails while tables come and go, also when nothing is left to write to and what waits is taken by the next table. Without a path I/O fails
at once, waits, or waits for a while, as the table has it and as messages say. All paths hang, and go on: nothing is lost.
"""
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language
from multipath import *  # noqa: F403


def reader(one, m):
    """A read that waits, or has ended already; the returned function says whether it went well."""
    script = f"import mmap,os; f=os.open('{m.path}', os.O_RDONLY | os.O_DIRECT); open('/run/reads', 'w').write(str(os.getpid())); os.preadv(f, [mmap.mmap(-1, 4096)], 0)"
    one.run("rm -f /run/reads")
    wait = one.background(f'/usr/bin/python3 -c "{script}" 2>&1', 120)
    wait_for("a read to wait", lambda: one.run("[ -s /run/reads ] || exit 0; pid=$(cat /run/reads); grep -qs '^State:.[RS]' /proc/$pid/status || echo yes"))

    def went_well():
        status, out = wait()
        expect(status == 0 or "Input/output error" in out, out)
        return status == 0
    return went_well


def suspended_and_replaced(one, paths, mode):
    say(f"suspended and replaced under load, {mode}")
    a, b, c, d = paths.numbers
    line = f"3 queue_if_no_path queue_mode {mode} 0 {{}}"
    tables = [line.format(groups) for groups in (f"1 1 round-robin 0 2 0 {a} {b}", f"1 1 queue-length 0 1 0 {c}", f"2 1 service-time 0 2 0 {c} {d} latency 0 2 0 {a} {b}",
                                                 f"2 2 historical-service-time 0 1 0 {a} io-affinity 0 1 1 {b} 1")]
    ours = Map(one)
    ours.create(tables[0])
    enough = one.keep_writing(ours.path)
    for turn in range(1 if DEBUG_KERNEL else 3):
        for how in ("--nolockfs", "--nolockfs --noflush"):
            one.run(f"dmsetup suspend {how} {ours.name} && sleep 0.5 && dmsetup resume --noudevsync {ours.name}")
            for table in tables[1:] + tables[:1]:
                ours.reload(table, suspend=how)
                ours.message("switch_group 1")
    ours.message(f"fail_path {a}")
    ours.message(f"drain_path {b}")
    ours.reload(tables[0])
    expect(ours.states() == ["active"] * 2, f"a new table begins with what was said of the old one's paths: {ours.states()}")
    enough(f"writes while it was suspended and replaced ({mode})")

    say("what waits is the next table's")
    enough = one.keep_writing(ours.path)
    time.sleep(1)
    for path in (a, b):
        ours.message(f"fail_path {path}")
    wait_for("writes to wait", lambda: ours.json()["waiting_kib"] or mode == "rq")
    ours.reload(tables[1])
    expect(ours.states() == ["active"], ours.ask("explain"))
    enough(f"writes that waited for another table ({mode})")
    ours.remove()


def flushed_without_a_path(one, paths, mode):
    say(f"a suspend that flushes does not wait for a path, {mode}")
    for m in [Map(one, kind) for kind in NAMES]:  # what waits inside the map fails; requests wait outside of it
        m.create(f"3 queue_if_no_path queue_mode {mode} 0 1 1 round-robin 0 1 0 {paths.numbers[0]}")
        m.message(f"fail_path {paths.numbers[0]}")
        reads = [reader(one, m)]
        one.run(f"dmsetup suspend --nolockfs {m.name} && dmsetup resume --noudevsync {m.name}")
        if mode == "bio":
            expect(not reads.pop()(), f"{m.name}: what waited for a path outlived a flush")
        reads.append(reader(one, m))
        m.message(f"reinstate_path {paths.numbers[0]}")
        expect(all(read() for read in reads), f"{m.name}: I/O does not wait for a path any more")
        m.remove()


def made_larger(one, paths, mode):
    say(f"made larger under load, {mode}")
    line = f"3 force queue_mode {mode} 0 1 1 round-robin 0 2 0 {' '.join(paths.numbers[:2])}"
    ours = Map(one)
    ours.create(line, SIZE_MIB // 2)
    enough = one.keep_writing(ours.path)
    write = f"dd if=/dev/zero of={ours.path} bs=1M count=1 seek={SIZE_MIB - 1} oflag=direct 2>&1"
    expect(one.run(write, check=False)[0] != 0, "one writes beyond its end")
    ours.reload(line, suspend="--nolockfs")
    one.run(write)
    enough(f"writes while it grew ({mode})")
    ours.remove()


def no_path_is_left(one, paths, mode):
    say(f"no path is left, {mode}")
    a, b = paths.numbers[:2]
    ours = Map(one)

    def lose():
        for path in (a, b):
            ours.message(f"fail_path {path}")

    def make(features):
        words = f"queue_mode {mode} probe_interval_ms 0 {features}".split()
        expect(ours.create(f"{len(words)} {' '.join(words)} 0 1 1 round-robin 0 2 0 {a} {b}") is None, f"refused: {features}")
        lose()

    make("")
    expect(not reader(one, ours)(), "it waits although nobody asked for that")
    ours.message("queue_if_no_path")
    read = reader(one, ours)
    ours.message("fail_if_no_path")
    expect(not read(), "it waits although it should no more")
    ours.remove()

    for features in ("queue_if_no_path", "queue_if_no_path no_path_timeout_ms 20000"):
        make(features)
        read = reader(one, ours)
        ours.message(f"reinstate_path {b}")
        expect(read(), f"a path was back in time ({features})")
        ours.remove()

    make("queue_if_no_path no_path_timeout_ms 1000")
    expect(not reader(one, ours)(), "it waits for longer than asked")
    expect(not reader(one, ours)(), "it waits again")
    ours.message(f"reinstate_path {a}")
    expect(reader(one, ours)(), "a path is back and it does not read")
    ours.remove()


def all_paths_hang(one, paths):
    say("all paths hang under load, and go on")
    for i in (0, 1):
        over(one, f"way{i}", paths.numbers[i])
    ours = Map(one)
    ours.create("5 queue_if_no_path queue_mode bio path_timeout_ms 500 0 1 1 queue-length 0 2 0 /dev/mapper/way0 /dev/mapper/way1")
    enough = one.keep_writing(ours.path)
    for _ in range(3):
        time.sleep(1)
        one.run("dmsetup suspend --noflush --nolockfs way0; dmsetup suspend --noflush --nolockfs way1")
        wait_for("both paths to be left", lambda: ours.states() == ["stuck"] * 2)
        read = reader(one, ours)
        time.sleep(1)
        one.run("dmsetup resume way0; dmsetup resume way1")
        wait_for("both paths to be back", lambda: ours.states() == ["active"] * 2)
        expect(read(), "a read was not done that had waited for the paths")
    enough("writes while all paths hung")
    ours.remove()
    one.run("dmsetup remove way0; dmsetup remove way1")


def tell(lab):
    one = lab.node(1)
    one.run("modprobe -qa dm-multipath dm-round-robin; true")  # a debug kernel has them built in
    paths = Paths(one)
    for mode in ("bio", "rq"):
        suspended_and_replaced(one, paths, mode)
        flushed_without_a_path(one, paths, mode)
        made_larger(one, paths, mode)
        no_path_is_left(one, paths, mode)
    all_paths_hang(one, paths)
    one.run("rmmod dm_mpath")


story(tell, nodes=1, disks={})
