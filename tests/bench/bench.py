#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""make bench: every figure is a ratio within this one run, or a count. Results: build/bench/results.json and results.txt.

    node1   node2   node3      1 CPU each
       \\      |      /
     leg0, leg1 (256 MiB), log, raw, large0, large1 (cluster MD has these)

    two         a machine with two processors
    counted     a machine whose clock counts the instructions that it executes: what the targets' own code costs
"""
import json
import os
import re
import shutil
import statistics
import sys
import time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
from lab import *  # noqa: F403 - a story speaks the lab's language
from multipath import *  # noqa: F403

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = int(os.environ.get("FIO_SECONDS", "3"))
TWO_PORTS = "4 group_prio alua failback immediate 1 alua 2 1 service-time 0 1 1 {} 1 service-time 0 1 1 {} 1"  # a group for each
SOON_MS = 100  # after a path has failed
ROUND_TRIPS_OF_A_FAILURE = 3  # a leg is suspected, voted about, left by every kernel
SECTORS_16_TIB = 34359738368
results = []


def result(name, value, unit, target, holds):
    results.append({"name": name, "value": value, "unit": unit, "target": target, "holds": holds})
    say(f"{'holds ' if holds else 'FAILS ' if holds is False else '      '} {name}: {value} {unit} (target {target})")


def at_least(name, value, target, unit="of it"):
    result(name, round(value, 3), unit, f"at least {target}", value >= target)


def at_most(name, value, target, unit):
    result(name, round(value, 3) if isinstance(value, float) else value, unit, f"at most {target}", value <= target)


def fio_job(node, path, depth, offset="0", size="200m", rw="randwrite", bs="4k", seconds=SECONDS, before=1, jobs=1):
    """Started; the returned function gives what fio says of its reads or writes. `jobs`: that many at once, of that depth each."""
    wait = node.background(f"fio --name=x --filename={path} --direct=1 --ioengine=libaio --rw={rw} --bs={bs} --iodepth={depth} --offset={offset} --size={size} "
                           f"--runtime={seconds * 1000:.0f}ms --time_based --ramp_time={before * 1000:.0f}ms --output-format=json --norandommap --randrepeat=0 --numjobs={jobs} --group_reporting", 180)

    def job():
        status, out = wait()
        if status:
            raise LabError(f"fio: {out}")
        return json.loads(out[out.index("{"):])["jobs"][0]["read" if "read" in rw else "write"]
    return job


def fio(*arguments, **options):
    """The same; the returned function gives IOPS."""
    job = fio_job(*arguments, **options)
    return lambda: job()["iops"]


class Contest:
    """Several do the same jobs, each job in turn, so that what is compared is measured within seconds; in each round another is the first."""

    def __init__(self, where):
        self.where = where  # name -> path
        self.samples = {}   # job -> of each round: name -> figure

    def round(self, job, measure, among=None):
        rounds = self.samples.setdefault(job, [])
        names = [name for name in self.where if name in (among or self.where)]
        turn = len(rounds) % len(names)
        rounds.append({name: measure(self.where[name]) for name in names[turn:] + names[:turn]})

    def median(self, name, job):
        return statistics.median(r[name] for r in self.samples[job])

    def ratio(self, name, other, job):
        """The middle one of those of each round."""
        return statistics.median(r[name] / r[other] for r in self.samples[job])


def clear_log(lab):
    lab.node(1).run(f"dd if=/dev/zero of={lab.path('log')} bs=1M count=8 oflag=direct 2>&1")


def disk_log_table(lab, mirror, sync):
    return f"0 {mirror.sectors} mirror disk 3 {lab.path('log')} {mirror.region // 512} {sync} 2 {lab.path('leg0')} 0 {lab.path('leg1')} 0 1 handle_errors"


def writes(lab):
    one = lab.node(1)
    mirror = Mirror(lab, extra="nosync")
    samples = {}

    def note(key, value):
        samples.setdefault(key, []).append(value)

    for n in range(ROUNDS):
        say(f"writes, round {n + 1} of {ROUNDS}")
        for depth in (1, 16):
            note(("raw", depth), fio(one, lab.path("raw"), depth)())
        clear_log(lab)
        one.run(f"dmsetup create local --table '{disk_log_table(lab, mirror, 'nosync')}'")
        for depth in (1, 16):
            note(("stock", depth), fio(one, "/dev/mapper/local", depth)())
        one.run("dmsetup remove --retry local")
        mirror.create()
        mirror.wait_sync()
        for depth in (1, 16):
            note(("ours", depth), fio(one, mirror.path, depth)())
        mirror.remove()
    m = {k: statistics.median(v) for k, v in samples.items()}
    for depth in (1, 16):
        say(f"depth {depth}: raw {m['raw', depth]:.0f}, stock mirror with disk log {m['stock', depth]:.0f}, cluster mirror {m['ours', depth]:.0f} IOPS")
        at_least(f"4 KiB random write, depth {depth}, one of three nodes, against the local stock mirror with `disk` log", m["ours", depth] / m["stock", depth], 0.5)
        result(f"the same against the raw disk, depth {depth}", round(m["ours", depth] / m["raw", depth], 3), "of it", "-", None)

    mirror.create()
    mirror.wait_sync()
    two_nodes(lab, mirror)
    mirror.remove()


def two_nodes(lab, mirror):
    """Each writes its own half, on a processor of its own, as machines have, if there are two. What the raw disk loses by their writing at once is taken off, measured within seconds
    of it; and once more with disks that are slower than the processors, where nothing but the mirror could make them wait for each other."""
    halves = ((lab.node(1), "0"), (lab.node(2), "100m"))
    for processor, (node, _) in zip(sorted(os.sched_getaffinity(0)), halves):
        node.keep_to(processor)
    raw = lab.path("raw")

    def kept(path, depth):
        """What each node still does beside the other, of what it did alone."""
        job = [lambda node=node, offset=offset: fio(node, path, depth, offset, "100m") for node, offset in halves]
        alone = [start()() for start in job]
        together = [wait() for wait in [start() for start in job]]
        return [together[i] / alone[i] for i in (0, 1)]

    def slow_legs(bytes_per_second):
        for node, _ in halves:
            for leg in ("leg0", "leg1"):
                node.throttle(leg, bytes_per_second)

    samples = {}
    for n in range(ROUNDS):
        say(f"two nodes writing, round {n + 1}")
        for depth in (1, 16):
            shares = zip(kept(mirror.path, depth), kept(raw, depth))
            samples.setdefault(depth, []).append([ours / disk for ours, disk in shares])
    for depth, rounds in samples.items():
        say(f"depth {depth}: {', '.join('{:.2f} {:.2f}'.format(*r) for r in rounds)}")
        for i in (0, 1):
            at_least(f"two nodes writing, depth {depth}: node {i + 1}'s share of the raw disk against alone", statistics.median(r[i] for r in rounds), 0.8)
    slow_legs(1 << 20)
    for depth in (1, 16):
        for i, share in enumerate(kept(mirror.path, depth)):
            at_least(f"two nodes writing, depth {depth}, legs of 1 MiB/s each: node {i + 1} against alone", share, 0.8)
    slow_legs(0)
    for node, _ in halves:
        node.keep_to()


class ClusterMd:
    """Cluster MD over two disks like our legs, as large, its bitmap as fine as our regions, for comparison. Without mdadm and dlm-controld it is left out."""

    def __init__(self, lab):
        self.lab = lab
        self.there = all(shutil.which(tool) for tool in ("mdadm", "dlm_controld"))
        self.legs = [lab.path("large0"), lab.path("large1")]

    def start(self):
        for n in self.lab.nodes:
            n.run("modprobe -a dlm md-cluster raid1; mkdir -p /dev/misc /run/mdadm; for d in dlm-control dlm-monitor dlm_plock; do ln -sf ../$d /dev/misc/$d; done; "
                  "for d in control monitor; do [ -e /dev/dlm-$d ] || ln -sf misc/dlm-$d /dev/dlm-$d; done; setsid dlm_controld -D -q 0 -f 0 > /run/dlm.log 2>&1 < /dev/null &")
        for n in self.lab.nodes:
            wait_for("dlm_controld", lambda n=n: n.run("dlm_tool status", check=False)[0] == 0)
        one, *others = self.lab.nodes
        legs = " ".join(self.legs)
        one.run(f"mdadm --zero-superblock {legs} 2> /dev/null; mdadm --create /dev/md0 --run --assume-clean --level=1 --raid-devices=2 --size=256M --metadata=1.2 --bitmap=clustered "
                f"--bitmap-chunk={MIB // 2048} --nodes=4 --home-cluster=lab {legs}")
        for n in others:
            n.run(f"mdadm --assemble /dev/md0 {legs}")
        return "/dev/md0"

    def nothing_marked(self):
        return " 0 dirty" in self.lab.node(1).run(f"mdadm -X {self.legs[0]} | grep -m1 dirty")

    def stop(self):
        for n in self.lab.nodes:
            n.run("mdadm --stop /dev/md0")
        self.lab.node(1).run(f"mdadm --zero-superblock {' '.join(self.legs)}")


def load_targets(lab):
    for n in lab.nodes:
        n.use_our_mirror(target_name="mirror-ext")
        n.run("modprobe dm-mirror")
        n.wait_for_channel()


WORK = (("4 KiB random writes, depth 1", 1, "randwrite", "4k"), ("4 KiB random writes, depth 16", 16, "randwrite", "4k"),
        ("512 KiB writes, depth 4", 4, "randwrite", "512k"), ("4 KiB random reads, depth 16", 16, "randread", "4k"))


def against_stock(rw, bs):
    """What is asked of our target."""
    return 1.0 if rw == "randread" else 2.0 if bs == "512k" else 1.3


def target(lab):
    """Our target beside the stock one and cluster MD, all there at once. Writes are to regions that are marked."""
    one, two, _ = lab.nodes
    load_targets(lab)
    clear_log(lab)
    md = ClusterMd(lab)
    mirror = Mirror(lab, extra="nosync", uuid="LVM-ext")
    rs = mirror.region // 512
    legs = f"2 {mirror.leg_words()} 1 handle_errors"
    tables = {"stock": f"mirror core 2 {rs} nosync {legs}", "ours": f"mirror-ext core 2 {rs} nosync {legs}",
              "shared": f"mirror-ext cluster 5 {mirror.uuid} disk {lab.path('log')} {rs} nosync {legs}"}
    names = {"raw": "raw", "stock": "stock `core`", "ours": "ours `core`", "shared": "ours `cluster`", "md": "cluster MD"}
    where = {"raw": lab.path("raw")} | {name: f"/dev/mapper/{name}" for name in tables}
    nodes = {"stock": [one], "ours": [one], "shared": lab.nodes}
    for name, table in tables.items():
        for node in nodes[name]:
            node.run(f"dmsetup create {name} --table '0 {mirror.sectors} {table}'")
        wait_for("the mirror in sync", lambda name=name: f" {mirror.regions}/{mirror.regions} " in one.run(f"dmsetup status {name}"))
    if md.there:
        where["md"] = md.start()
    contest = Contest(where)
    ratio = contest.ratio

    def mark_all(path):
        if path != where["raw"]:
            cold_writes(one, path)

    def by_one(depth, rw, bs):
        def measure(path):
            mark_all(path)
            return fio(one, path, depth, rw=rw, bs=bs)()
        return measure

    def by_two(depth):
        def measure(path):
            mark_all(path)
            return sum(wait() for wait in [fio(one, path, depth, "0", "100m"), fio(two, path, depth, "100m", "100m")])
        return measure

    def nothing_marked():
        return one.log_status(mirror)["dirty"] == 0 and (not md.there or md.nothing_marked())

    for n in range(ROUNDS):
        say(f"target, round {n + 1} of {ROUNDS}")
        wait_for("nothing to be marked", nothing_marked, 120)
        contest.round("cold", lambda path: cold_writes(one, path), ("shared", "md"))
        for name, *job in WORK:
            contest.round(name, by_one(*job))
        for depth in (1, 16):
            contest.round(f"two nodes, depth {depth}", by_two(depth), ("shared", "md"))

    for name, depth, rw, bs in WORK:
        say(f"{name}: {', '.join(f'{names[what]} {contest.median(what, name):.0f}' for what in where)} IOPS")
        at_least(f"{name}: our target against the stock one, `core` log", ratio("ours", "stock", name), against_stock(rw, bs))
        at_least(f"{name}: `cluster` log against `core`, our target, warm", ratio("shared", "ours", name), 0.97)
        if md.there:
            at_least(f"{name}: one of three nodes against cluster MD", ratio("shared", "md", name), 1.0)
        if name.endswith("depth 1"):
            at_least(f"{name}: our target with a `cluster` log against the raw disk", ratio("shared", "raw", name), 0.8)
        else:
            result(f"{name}: our target with a `cluster` log against the raw disk", round(ratio("shared", "raw", name), 3), "of it", "-", None)
        result(f"{name}: the raw disk against the stock target", round(ratio("raw", "stock", name), 3), "of it", "-", None)
    if md.there:
        for depth in (1, 16):
            at_least(f"two nodes, 4 KiB random writes to disjoint halves, depth {depth}, sum: against cluster MD", ratio("shared", "md", f"two nodes, depth {depth}"), 1.0)
        at_least("cold regions, every write marks: against cluster MD with its bitmap cold", ratio("shared", "md", "cold"), 0.8)
        md.stop()
    plot({(what, name): ratio(what, "raw", name) for what in where for name, *_ in WORK})
    for name in tables:
        for node in nodes[name]:
            node.run(f"dmsetup remove --retry {name}")
    reads(lab, tables["ours"], mirror.sectors)
    kernel_memory(lab)
    for n in lab.nodes:
        n.run("rmmod dm_raid1_ext; true")


def two_processors(lab):
    """Our target beside the stock one where the stock one's worker has a processor of its own: with virtual disks, which cost an emulated processor more than either target, and with
    disks that take no time (null_blk). Writes are to regions that are marked."""
    node = lab.node(1)
    node.use_our_mirror(target_name="mirror-ext")
    node.run("modprobe dm-mirror; modprobe null_blk nr_devices=3 gb=1 bs=512 submit_queues=2")
    beside_stock(node, lab.sizes["leg0"], "two processors", [lab.path(disk) for disk in ("leg0", "leg1", "raw")])
    beside_stock(node, lab.sizes["leg0"], "two processors, disks that take no time", [f"/dev/nullb{i}" for i in range(3)])
    node.run("rmmod dm_raid1_ext null_blk")


def beside_stock(node, size, where, disks):
    legs = f"{REGION // 512} nosync 2 {disks[0]} 0 {disks[1]} 0 1 handle_errors"
    tables = {"stock": f"mirror core 2 {legs}", "ours": f"mirror-ext core 2 {legs}"}
    contest = Contest({"raw": disks[2]} | {name: f"/dev/mapper/{name}" for name in tables})
    for name, table in tables.items():
        node.run(f"dmsetup create {name} --table '0 {size // 512} {table}'")
        node.run(f"dd if=/dev/zero of=/dev/mapper/{name} bs={REGION} count={size // REGION} oflag=direct 2>&1")  # so that every region is marked
    work = [(name, 1, *job) for name, *job in WORK] + [(f"4 KiB random writes, {jobs} writers, depth {16 // jobs} each", jobs, 16 // jobs, "randwrite", "4k") for jobs in (2, 4)]
    for n in range(ROUNDS):
        say(f"{where}, round {n + 1} of {ROUNDS}")
        for name, jobs, depth, rw, bs in work:
            contest.round(name, lambda path, jobs=jobs, depth=depth, rw=rw, bs=bs: fio(node, path, depth, rw=rw, bs=bs, jobs=jobs)())
    for name, _, _, rw, bs in work:
        say(f"{name}: {', '.join(f'{what} {contest.median(what, name):.0f}' for what in contest.where)} IOPS")
        at_least(f"{name}, {where}: our target against the stock one, `core` log", contest.ratio("ours", "stock", name), against_stock(rw, bs))
        result(f"{name}, {where}: the raw disk against the stock target", round(contest.ratio("raw", "stock", name), 3), "of it", "-", None)
    for name in tables:
        node.run(f"dmsetup remove --retry {name}")


def plot(shares):
    """Shares of the raw disk as bars, into build/bench/target.svg."""
    kinds = [(kind, name, colour) for kind, name, colour in (("stock", "stock, `core`", "#9aa5b1"), ("ours", "ours, `core`", "#7fb3d5"), ("shared", "ours, `cluster`", "#1f618d"),
                                                             ("md", "cluster MD", "#e59866")) if (kind, WORK[0][0]) in shares]
    bar, gap, left, scale = 18, 26, 250, 400
    parts, y = [], 40
    for i, (_, name, colour) in enumerate(kinds):
        parts.append(f'<rect x="{left + 140 * i}" y="8" width="12" height="12" fill="{colour}"/><text x="{left + 140 * i + 18}" y="18">{name}</text>')
    for name, *_ in WORK:
        parts.append(f'<text x="{left - 10}" y="{y + bar * len(kinds) / 2 + 5}" text-anchor="end">{name}</text>')
        for kind, _, colour in kinds:
            share = shares[kind, name]
            parts.append(f'<rect x="{left}" y="{y}" width="{share * scale:.0f}" height="{bar - 3}" fill="{colour}"/><text x="{left + share * scale + 6:.0f}" y="{y + 12}">{share:.2f}</text>')
            y += bar
        y += gap
    parts.append(f'<line x1="{left + scale}" y1="30" x2="{left + scale}" y2="{y - gap}" stroke="#333" stroke-dasharray="4"/><text x="{left + scale}" y="{y - 8}" text-anchor="middle">raw disk</text>')
    with open(os.path.join(BUILD, "bench", "target.svg"), "w") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + scale + 200}" height="{y}" font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>'
                + "".join(parts) + "</svg>\n")


def cold_writes(node, path):
    """4 KiB writes per second, one after the other, each to a region (and a bit of cluster MD's bitmap) that is clean."""
    script = (f"import os,mmap,time; f=os.open('{path}', os.O_RDWR|os.O_DIRECT); b=mmap.mmap(-1,4096); n=400; t=time.monotonic(); "
              "[os.pwritev(f,[b],(i*7%n)<<19) for i in range(n)]; print(n/(time.monotonic()-t))")
    return float(node.run(f'/usr/bin/python3 -c "{script}"'))


def reads(lab, table, sectors):
    """Two legs that are throttled alike, against one of them."""
    one = lab.node(1)
    for leg in ("leg0", "leg1"):
        one.throttle(leg, 8 << 20)
    one.run(f"dmsetup create t --table '0 {sectors} {table}'")
    contest = Contest({"leg": lab.path("leg0"), "mirror": "/dev/mapper/t"})
    for n in range(ROUNDS):
        for name, rw, bs in (("random", "randread", "4k"), ("sequential", "read", "64k")):
            contest.round(name, lambda path, rw=rw, bs=bs: fio(one, path, 16, rw=rw, bs=bs)())
    at_least("random reads from two throttled legs, against one of them", contest.ratio("mirror", "leg", "random"), 1.8)
    at_least("sequential reads from two throttled legs, against one of them", contest.ratio("mirror", "leg", "sequential"), 1.0)
    one.run("dmsetup remove --retry t")
    for leg in ("leg0", "leg1"):
        one.throttle(leg, 0)


def kernel_memory(lab):
    """What a mirror of 16 TiB takes of the kernel: all of it that grows with the size comes from vmalloc."""
    one = lab.node(1)

    def taken():
        return sum(int(line.split()[1]) for line in one.run("cat /proc/vmallocinfo").splitlines() if re.search(r"\[(dm_raid1_ext|dm_log_cluster)\]", line))
    before = taken()
    big_legs(one)
    one.run(f"dmsetup create big --table '0 {SECTORS_16_TIB} mirror-ext cluster 4 LVM-big core 1024 nosync 2 /dev/mapper/big0 0 /dev/mapper/big1 0 1 handle_errors'")
    at_most("kernel memory of a 16 TiB mirror with a `cluster` log", round((taken() - before) / MIB, 1), 64, "MiB")
    one.run("dmsetup remove --retry big; dmsetup remove big0; dmsetup remove big1")


def big_legs(node):
    node.run(f"for i in 0 1; do dmsetup create big$i --table '0 {SECTORS_16_TIB} zero'; done")


def slow_writes(node, path, seconds):
    """99th percentile of 4 KiB random writes, one at a time, in ms."""
    return fio_job(node, path, 1, seconds=seconds)()["clat_ns"]["percentile"]["99.000000"] / 1e6


def during_a_copy(lab):
    """The same writes with a first copy under way and without: regions that are written again and again, as after a while. The copy lasts, for its legs are the same disks over and over."""
    one = lab.node(1)
    size, over_and_over = lab.sizes["large0"], 128
    for node in lab.nodes:
        for i in range(2):
            table = "\\n".join(f"{k * size // 512} {size // 512} linear {lab.path(f'large{i}')} 0" for k in range(over_and_over))
            node.run(f"printf '{table}\\n' | dmsetup create long{i}")
    calm, busy = [], []
    for n in range(ROUNDS):
        for extra, samples in (("nosync", calm), ("sync", busy)):
            clear_log(lab)
            mirror = Mirror(lab, extra=extra, uuid="LVM-long", legs=("long0", "long1"), size_mib=over_and_over * size // MIB)
            mirror.create()
            slow_writes(one, mirror.path, 3)
            samples.append(slow_writes(one, mirror.path, 2))
            left = one.log_status(mirror)["unsynced"]
            expect(left or extra == "nosync", "the first copy was over before the writes were")
            mirror.remove()
        say(f"99th percentile of 4 KiB writes: {calm[-1]:.2f} ms, during the first copy {busy[-1]:.2f} ms ({left} of {mirror.regions} regions were left at the end)")
    at_most("99th percentile of a 4 KiB write during the first copy, against none", statistics.median(busy) / statistics.median(calm), 2, "of it")
    for node in lab.nodes:
        node.run("dmsetup remove --retry long0; dmsetup remove --retry long1")


def failures(lab):
    """Our target and log: how long a write takes when something breaks."""
    one, two, three = lab.nodes
    for n in lab.nodes:
        n.use_our_mirror()
        n.wait_for_channel()
    lab.ours = True
    during_a_copy(lab)
    clear_log(lab)
    mirror = Mirror(lab, extra="nosync", uuid="LVM-failures")
    mirror.create()
    mirror.wait_sync()

    def load(seconds, **options):
        return one.load("write", mirror.path, seconds=seconds, span_mib=64, depth=4, verify=True, base=int(time.time()) << 20, **options)
    calm = one.expect(load(8)())
    say(f"nothing happens: longest gap {calm['longest_gap_ms']:.0f} ms, longest write {calm['longest_write_ms']:.0f} ms of {calm['writes']}")
    wait = load(14)
    time.sleep(4)
    one.kill_clogd()
    one.start_clogd()
    at_most("clogd killed and started again: longest write", round(one.expect(wait())["longest_write_ms"]), 2000, "ms")
    beyond, missed = [], []
    for n in range(ROUNDS):
        wait = load(8)
        time.sleep(3)
        lab.restore_disk("leg1")  # which is well: what it takes to put a table in place is the device's time, not ours
        calm = one.expect(wait())["longest_write_ms"]
        wait = load(8)
        time.sleep(3)
        before = one.status()["messages"]["round_trips"]
        lab.fail_disk("leg1")
        figures = one.expect(wait())
        after = one.status()["messages"]["round_trips"]
        trip = (after["total_us"] - before["total_us"]) / max(1, after["count"] - before["count"]) / 1000
        beyond.append(figures["longest_write_ms"] - calm - ROUND_TRIPS_OF_A_FAILURE * trip)
        say(f"a leg fails: longest write {figures['longest_write_ms']:.0f} ms, {calm:.0f} ms when its table was put in place without a fault; a message takes {trip:.1f} ms there and back")
        wait_for("the leg to be away", lambda: one.log_status(mirror)["legs"][1]["state"] == "away")
        lab.restore_disk("leg1")
        missed.append(one.log_status(mirror)["missed"] + sum(n.log_status(mirror)["dirty"] for n in lab.nodes))
        mirror.message("restore")
        wait_for("the leg to be back", lambda: one.log_status(mirror)["legs"][1]["state"] == "alive")
        mirror.wait_sync()
    at_most(f"a leg fails for all nodes: longest write beyond that of a run in which its table was only put in place, and {ROUND_TRIPS_OF_A_FAILURE} messages there and back", round(statistics.median(beyond)), 100, "ms")
    result("a leg returns: regions that it missed, of 512", statistics.median(missed), "regions", "-", None)
    for what in ("idle", "writing"):
        ratios = []
        for n in range(ROUNDS):
            calm = one.expect(load(14)())["longest_gap_ms"]
            if what == "writing":
                three.load("write", mirror.path, seconds=60, from_mib=128, span_mib=64, depth=16)
                time.sleep(2)
            wait = load(14)
            time.sleep(3)
            three.kill()
            gap = one.expect(wait())["longest_gap_ms"]
            say(f"a node that is {what} is killed: longest gap {gap:.0f} ms, {calm:.0f} ms in a calm run")
            ratios.append(gap / calm)
            mirror.wait_sync(one, two)
            lab.boot(three)
            lab.start_cluster(three)
            mirror.create(three)
            mirror.wait_sync()
        at_most(f"longest gap in a survivor's warm writes when {'an' if what == 'idle' else 'a'} {what} node is killed, against a run without", round(statistics.median(ratios), 2), 1.5, "of it")
    mirror.remove()


def counts(lab):
    one = lab.node(1)
    mirror = Mirror(lab, extra="nosync")
    mirror.create()
    mirror.wait_sync()

    def counters():
        s = one.status()
        return s["messages"]["sent"], one.log_status(mirror)["counters"]["log_writes"], one.log_status(mirror)["counters"]["marks"]
    write = f"python3 -c \"import os,mmap; f=os.open('{mirror.path}', os.O_RDWR|os.O_DIRECT); b=mmap.mmap(-1,4096); %s\""
    time.sleep(4)
    before = counters()
    one.run(write % "os.pwritev(f,[b],100<<20)")
    first = counters()
    at_most("first mark of a clean region: cluster messages", first[0] - before[0], 0, "messages")
    result("first mark of a clean region: 4 KiB writes to the log", first[1] - before[1], "writes", "exactly 1", first[1] - before[1] == 1)
    one.run(write % "[os.pwritev(f,[b],100<<20) for i in range(200)]")
    warm = counters()
    at_most("200 writes to the warm region: cluster messages", warm[0] - first[0], 0, "messages")
    at_most("200 writes to the warm region: writes to the log", warm[1] - first[1], 0, "writes")
    fio(one, mirror.path, 16)()
    burst = counters()
    result("random writes at depth 16: marks per log write", round((burst[2] - warm[2]) / max(1, burst[1] - warm[1]), 1), "marks", "-", None)
    mirror.remove()


def first_copy(lab):
    one = lab.node(1)
    mirror = Mirror(lab)
    ours, stock, messages = [], [], []
    for n in range(ROUNDS):
        clear_log(lab)
        begin = time.time()
        one.run(f"dmsetup create local --table '{disk_log_table(lab, mirror, 'sync')}'; until dmsetup status local | grep -q '512/512'; do sleep 0.05; done")
        stock.append(time.time() - begin)
        one.run("dmsetup remove --retry local")
        clear_log(lab)
        sent = sum(n.status()["messages"]["sent"] for n in lab.nodes)
        begin = time.time()
        mirror.create()
        one.run("until dmsetup status m0 | grep -q '512/512'; do sleep 0.05; done")
        ours.append(time.time() - begin)
        messages.append(sum(n.status()["messages"]["sent"] for n in lab.nodes) - sent)
        mirror.remove()
    say(f"first copy of 256 MiB: stock mirror {statistics.median(stock):.2f} s, three nodes {statistics.median(ours):.2f} s (creation included)")
    at_most("first copy of 256 MiB by three idle nodes, against the local stock mirror", statistics.median(ours) / statistics.median(stock), 1.0, "of its time")
    at_most("cluster messages of a first copy, per GiB, joins included", statistics.median(messages) * 4, 200, "messages")


def large_copy(lab):
    """Legs as slow as disks are: what copying adds to that. They are larger than those of first_copy, where making the mirror counts for more."""
    one, legs = lab.node(1), ("large0", "large1")
    rate, took = 16 * MIB, []
    for n in lab.nodes:
        for leg in legs:
            n.throttle(leg, rate // 3)  # the throttle is each machine's own
    for _ in range(ROUNDS):
        clear_log(lab)
        mirror = Mirror(lab, extra="sync", legs=legs)
        begin = time.time()
        mirror.create()
        one.run(f"until dmsetup status m0 | grep -q '{mirror.regions}/{mirror.regions}'; do sleep 0.2; done", timeout=200)
        took.append(time.time() - begin)
        mirror.remove()
    for n in lab.nodes:
        for leg in legs:
            n.throttle(leg, 0)
    at_least(f"copying {lab.sizes[legs[0]] // MIB} MiB by three nodes to a leg of 16 MiB/s: speed against the leg's", lab.sizes[legs[0]] / rate / statistics.median(took), 0.9)


def deaths(lab):
    one, two, three = lab.nodes
    for what in ("idle", "writing"):
        mirror = Mirror(lab, extra="nosync")
        mirror.create()
        mirror.wait_sync()
        if what == "writing":
            three.load("write", mirror.path, seconds=60, from_mib=128, span_mib=64, depth=16)
            time.sleep(2)
        load = one.load("write", mirror.path, seconds=14, span_mib=64, depth=4, verify=True)
        time.sleep(3)
        three.kill()
        figures = one.expect(load())
        at_most(f"longest gap in a survivor's writes when {'an' if what == 'idle' else 'a'} {what} node is killed", round(figures["longest_gap_ms"]), 500, "ms")
        known = max(n.log_status(mirror)["counters"]["dead_known_ms"] for n in (one, two))
        at_most(f"a dead ({what}) node's regions known after the membership change", known, 200, "ms")
        mirror.wait_sync(one, two)
        lab.boot(three)
        lab.start_cluster(three)
        mirror.remove(one, two)


def large(lab):
    for n in lab.nodes:
        big_legs(n)
    clear_log(lab)
    table = f"0 {SECTORS_16_TIB} mirror userspace 5 LVM-big clustered-disk {lab.path('log')} 1024 nosync 2 /dev/mapper/big0 0 /dev/mapper/big1 0 1 handle_errors"
    for n in lab.nodes[:2]:
        n.run(f"dmsetup create big --table '{table}'")
    begin = time.time()
    lab.node(3).run(f"dmsetup create big --table '{table}'")
    wait_for("node 3 to be active", lambda: lab.node(3).status()["logs"][0]["phase"] == "active")
    at_most("join to a 16 TiB mirror", round(time.time() - begin, 2), 2, "s")
    lab.node(1).run("fio --name=x --filename=/dev/mapper/big --direct=1 --ioengine=libaio --rw=randwrite --bs=4k --iodepth=16 --runtime=5 --time_based --size=15t --norandommap")
    rss = max(int(n.run("grep VmRSS /proc/$(pgrep -x clogd)/status").split()[1]) for n in lab.nodes)
    at_most("clogd's resident memory with a 16 TiB mirror on three nodes", round(rss / 1024, 1), 64, "MiB")
    for n in lab.nodes:
        n.run("dmsetup remove --retry big; dmsetup remove big0; dmsetup remove big1")


def make(m, line):
    refused = m.create(line)
    expect(refused is None, f"the table is refused: {refused}")


def paths(lab):
    """Our multipath target against the kernel's own in a machine that counts: disks in memory, so that what the targets themselves cost is seen."""
    node = lab.node(1)
    node.run("modprobe -q dm-multipath")
    disks = Paths(node)
    kinds = {kind: Map(node, kind) for kind in NAMES}

    def figure(path, rw, bs, depth):
        return fio(node, path, depth, size=f"{SIZE_MIB}m", rw=rw, bs=bs, seconds=0.5, before=0.2)()
    small = [(rw, "4k", depth) for rw in ("randread", "randwrite") for depth in (1, 16)]
    jobs = [*small, ("write", "512k", 4)]
    for mode in ("bio", "rq"):
        for count in (1, 2):
            numbers = disks.numbers[:count]
            for m in kinds.values():
                make(m, f"2 queue_mode {mode} 0 1 1 round-robin 0 {count} 0 {' '.join(numbers)}")
            contest = Contest({kind: m.path for kind, m in kinds.items()})
            linear = mode == "bio" and count == 1
            if linear:
                over(node, "plain", numbers[0])
                contest.where["linear"] = "/dev/mapper/plain"
            for n in range(ROUNDS):
                say(f"{count} path(s), {mode}, round {n + 1} of {ROUNDS}")
                for job in jobs:
                    contest.round(job, lambda path, job=job: figure(path, *job))
            for job in jobs:
                rw, bs, depth = job
                what = f"{bs} {rw}, depth {depth}, {count} path(s), {mode}"
                at_least(f"{what}: against the kernel's own target", contest.ratio("ours", "stock", job), 1.0)
                if linear and job in small:
                    at_least(f"{what}: against a linear target", contest.ratio("ours", "linear", job), 0.95)
            for m in kinds.values():
                m.remove()
            if linear:
                node.run("dmsetup remove --noudevsync --retry plain")

    node.run("rmmod dm_mpath scsi_debug")


def slow_path(lab):
    """One of two paths is slower by 100 ms: with disks that answer at once, where the processor is the bound and a slot more or less says nothing, and with disks that take a while.
    The quick path without a map above it shows how much there is to gain."""
    node = lab.node(1)
    node.run("modprobe -qa dm-multipath dm-delay")
    disks = Paths(node)
    kinds = {kind: Map(node, kind) for kind in NAMES}
    for own in (0, 4):
        numbers = [over(node, name, number, f"delay {{}} 0 {own + more}") for name, number, more in (("quick", disks.numbers[0], 0), ("slow", disks.numbers[1], 100))]
        for kind, selector in (("stock", "service-time 0 2 1 {} 1 {} 1"), ("ours", "latency 0 2 0 {} {}")):
            make(kinds[kind], "2 queue_mode bio 0 1 1 " + selector.format(*numbers))
        contest = Contest({kind: m.path for kind, m in kinds.items()} | {"quick": "/dev/mapper/quick"})
        for n in range(ROUNDS):
            contest.round("reads", lambda path: fio(node, path, 4, size=f"{SIZE_MIB}m", rw="randread", seconds=2)())
        say(f"{contest.median('ours', 'reads'):.0f} against {contest.median('stock', 'reads'):.0f} IOPS")
        at_least(f"one of two paths slower by 100 ms, disks that take {own} ms, 4k randread, depth 4: `latency` against the kernel's `service-time`",
                 contest.ratio("ours", "stock", "reads"), 1.1)
        result(f"the quick path with no map above it, disks that take {own} ms, against the same", round(contest.ratio("quick", "stock", "reads"), 3), "of it", "-", None)
        for m in kinds.values():
            m.remove()
        node.run("dmsetup remove --noudevsync --retry slow; dmsetup remove --noudevsync --retry quick")
    node.run("rmmod dm_mpath scsi_debug")


def many_paths(lab):
    """256 maps of four paths."""
    node = lab.node(1)
    disks = Paths(node)
    slab = "awk '/^(Slab|Percpu)/ { kib += $2 } END { print kib }' /proc/meminfo"
    line = "3 queue_mode bio force 0 1 1 round-robin 0 %d 0 %s"

    def many(count):
        table = f"0 {SIZE_MIB * 2048} {NAMES['ours']} " + line % (count, " ".join(disks.numbers[:count]))
        before = int(node.run(f"sync; {slab}"))
        node.run(f"for i in $(seq 256); do dmsetup create --noudevsync many$i --table '{table}'; done", timeout=600)
        return int(node.run(slab)) - before

    def none():
        node.run("for i in $(seq 256); do dmsetup remove --noudevsync --retry many$i; done; sleep 2", timeout=600)
    many(1)
    none()
    one = many(1)
    none()
    four = many(4)
    result("memory of a path beyond the first of its map, histograms included", round((four - one) / (3 * 256), 1), "KiB", "-", None)
    took = sorted(float(x) for x in node.run(f"""python3 - <<'X'
import subprocess, time
for i in range(1, 21):
    begin = time.monotonic()
    subprocess.run(["dmsetup", "message", f"many{{i}}", "0", "add_path 1 {disks.numbers[0]}"], check=False)
    with_it = time.monotonic() - begin
    begin = time.monotonic()
    subprocess.run(["dmsetup", "message", f"many{{i}}", "0", "reinstate_path {disks.numbers[0]}"], check=True)
    print((with_it - (time.monotonic() - begin)) * 1000)
X""").split())
    at_most("adding a path among 1,024: time beyond that of a message that does nothing", round(statistics.median(took), 1), 10, "ms")
    none()
    node.run("rmmod dm_mpath scsi_debug")


HANG = """
import mmap, os, subprocess, threading, time
device = os.open("{path}", os.O_RDONLY | os.O_DIRECT)
took, threads = [], []


def read():
    room, begin = mmap.mmap(-1, 4096), time.monotonic()
    os.preadv(device, [room], 0)
    took.append((begin, time.monotonic() - begin))


def go_on(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        threads.append(threading.Thread(target=read))
        threads[-1].start()
        time.sleep(0.02)


go_on(1)
subprocess.run(["dmsetup", "suspend", "--noflush", "--nolockfs", "hangs"], check=True)
hung = time.monotonic()
go_on(4)
subprocess.run(["dmsetup", "resume", "hangs"], check=True)
for thread in threads:
    thread.join()
on_it = [begin for begin, seconds in took if seconds > 2]
print((max(on_it) - hung) * 1000, max(seconds for _, seconds in took if seconds <= 2) * 1000)
"""


BACK = """
import json, subprocess, time
begin = time.monotonic()
while time.monotonic() < begin + 30:
    told = subprocess.run(["dmsetup", "message", "ours", "0", "json"], stdout=subprocess.PIPE, check=True).stdout
    if all(path["state"] in ("active", "ramping") for group in json.loads(told)["groups"] for path in group["paths"]):
        break
    time.sleep(0.02)
print((time.monotonic() - begin) * 1000)
"""


def path_fails(lab):
    """The path in use fails under load: ours without a daemon, the kernel's own with multipathd. In a machine that counts: elsewhere a write takes some ms now and then for no such reason; and
    here, too, once udev looks at what has happened, so those writes count that are begun before."""
    node = lab.node(1)
    node.use_guest_packages()
    load_target(node)
    array = Array(node, decides_alone=True)
    array.set(OPTIMIZED, NONOPTIMIZED)
    way = f"/sys/block/{array.names[0]}/device/state"  # its own errors come at once: a way of tcm_loop that is offline would have SCSI try five times for 85 ms before the target hears of it

    def longest(path, usable):
        # Groups are chosen, and gone back to, when there is I/O.
        wait_for("both paths to be usable", lambda: node.run(f"dd if={path} of=/dev/null bs=4k count=1 iflag=direct 2>&1") and usable(), 60)
        node.run("rm -f /run/path_*")
        wait = node.background(f"chrt -f 50 fio --name=x --filename={path} --direct=1 --ioengine=libaio --rw=randwrite --bs=4k --iodepth=4 --size={SIZE_MIB}m --runtime=2 --time_based "
                               "--write_lat_log=/run/path --log_unix_epoch=1", 180)
        wait_for("fio to write", lambda: node.run(f"cat /sys/block/{array.names[0]}/stat").split()[8] != "0")
        begin = int(node.run(f"date +%s%3N; echo offline > {way}").split()[0])
        status, out = wait()
        expect(status == 0, out)
        array.path(0, "running")
        # of each: when it ended (ms), how long it took (ns)
        return float(node.run(f"awk -F, '{{ ms = $2 / 1e6; if ($1 >= {begin} && $1 - ms <= {begin + SOON_MS} && ms > most) most = ms }} END {{ print most }}' /run/path_clat.1.log"))

    node.run("modprobe -q dm-multipath")
    start_multipathd(node)
    wait_for("multipathd's map", lambda: node.run("ls /dev/mapper/mpatha 2>&1", check=False)[0] == 0)

    def stock_usable():
        words = node.run("dmsetup status mpatha").split()
        return words.count("A") == 3 and " A 0 1 2 " + array.numbers[0] in " ".join(words)  # two paths, and the current group
    stock = [longest("/dev/mapper/mpatha", stock_usable) for _ in range(ROUNDS)]
    stop_multipathd(node)
    node.run("multipath -f mpatha")
    ours = Map(node)
    make(ours, TWO_PORTS.format(*array.numbers))
    mine = [longest(ours.path, lambda: ours.states() == ["active"] * 2 and ours.in_use() == 1) for _ in range(ROUNDS)]
    ours.remove()
    say(f"ours {', '.join(f'{ms:.1f}' for ms in mine)}, the kernel's own {', '.join(f'{ms:.1f}' for ms in stock)} ms")
    at_most("a path fails under load: longest write, against the kernel's own target with multipathd", statistics.median(mine) / statistics.median(stock), 0.5, "of it")
    result("the same in ms: ours, and the kernel's own", f"{statistics.median(mine):.1f} / {statistics.median(stock):.1f}", "ms", "-", None)
    node.run("rmmod dm_mpath")
    array.remove()


def trouble(lab):
    """Paths that return and hang."""
    node = lab.node(1)
    load_target(node)
    array = Array(node, decides_alone=True)
    array.set(OPTIMIZED, NONOPTIMIZED)
    ours = Map(node)
    make(ours, TWO_PORTS.format(*array.numbers))
    back = []
    for _ in range(ROUNDS):
        enough = node.keep_writing(ours.path)
        wait_for("the first group to be used", lambda: ours.in_use() == 1 and ours.states() == ["active"] * 2)
        array.path(0, "offline")
        wait_for("the other group to be used", lambda: ours.in_use() == 2)
        back.append(float(node.run(f"echo running > /sys/block/{array.names[0]}/device/state; python3 - <<'X'{BACK}X")))
        enough("writes while a path failed")
    ours.remove()
    at_most("a path is well again: in use after", round(statistics.median(back)), 2000, "ms")

    numbers = [over(node, name, number) for name, number in zip(("hangs", "well"), array.numbers)]
    array.set(OPTIMIZED, OPTIMIZED)
    make(ours, "4 queue_mode bio path_timeout_ms 500 0 1 1 round-robin 0 2 0 {} {}".format(*numbers))
    last, others = (float(x) for x in node.run(f"python3 - <<'X'{HANG.format(path=ours.path)}X", timeout=60).split())
    at_most("a path hangs (path_timeout_ms 500): the last read that went down it, after it began to hang", round(last), 700, "ms")
    at_most("longest of all the other reads meanwhile", round(others), 700, "ms")
    ours.remove()
    node.run("dmsetup remove --noudevsync --retry hangs; dmsetup remove --noudevsync --retry well; rmmod dm_mpath")
    array.remove()


def mirror_cost(lab):
    """Our mirror target against the kernel's own, and its `cluster` log against `core`, in a machine that counts: legs in memory, regions that are marked."""
    node = lab.node(1)
    node.use_our_mirror(target_name="mirror-ext")
    node.run("modprobe dm-mirror")
    node.start_clogd("--transport solo")
    node.wait_for_channel()
    disks = node.scsi_disks(2, f"per_host_store=1 vpd_use_hostno=0 dev_size_mb={SIZE_MIB} max_queue=64")
    legs = f"{REGION // 512} nosync 2 {' '.join(f'/dev/{disk} 0' for disk in disks)} 1 handle_errors"
    tables = {"stock": f"mirror core 2 {legs}", "ours": f"mirror-ext core 2 {legs}", "shared": f"mirror-ext cluster 4 LVM-cost core {legs}"}
    regions = SIZE_MIB * MIB // REGION
    contest = Contest({name: f"/dev/mapper/{name}" for name in tables} | {"leg": f"/dev/{disks[0]}"})

    def job(depth, rw, bs):
        return lambda path: fio(node, path, depth, size=f"{SIZE_MIB}m", rw=rw, bs=bs, seconds=0.5, before=0.5)()
    for name, table in tables.items():
        node.run(f"dmsetup create {name} --table '0 {SIZE_MIB * 2048} {table}'")
        wait_for("the mirror in sync", lambda name=name: f" {regions}/{regions} " in node.run(f"dmsetup status {name}"))
        node.run(f"dd if=/dev/zero of=/dev/mapper/{name} bs={REGION} count={regions} oflag=direct 2>&1")  # so that every region is marked
    for n in range(ROUNDS):
        say(f"mirror_cost, round {n + 1} of {ROUNDS}")
        for name, *what in WORK:
            contest.round(name, job(*what))
    number = node.run(f"cat /sys/block/{disks[0]}/dev").strip()
    node.run(f"dmsetup message ours 0 prefer {number}")
    for n in range(ROUNDS):
        contest.round("one leg", job(16, "randread", "4k"), ("stock", "ours"))
    result("4 KiB random reads, depth 16, legs in memory: our target against the stock one when it reads from one leg, too", round(contest.ratio("ours", "stock", "one leg"), 3), "of it", "-", None)
    for name, _, rw, bs in WORK:
        at_least(f"{name}, legs in memory: our target against the stock one, `core` log", contest.ratio("ours", "stock", name), against_stock(rw, bs))
        at_least(f"{name}, legs in memory: `cluster` log against `core`, our target, warm", contest.ratio("shared", "ours", name), 0.97)
        result(f"{name}, legs in memory: a leg with no mirror above it against the stock target", round(contest.ratio("leg", "stock", name), 3), "of it", "-", None)
    for name in tables:
        node.run(f"dmsetup remove --retry {name}")
    node.kill_clogd("TERM")
    node.run("rmmod dm_raid1_ext scsi_debug")


# On which machines: the parts, and what the lab is told.
LABS = (((counts, first_copy, large_copy, writes, deaths, large, target, failures, many_paths, trouble),
         {"disks": {"leg0": 256 * MIB, "leg1": 256 * MIB, "log": 16 * MIB, "raw": 256 * MIB, "large0": 768 * MIB, "large1": 768 * MIB}, "name": "bench", "transport": "knet"}),
        ((two_processors,), {"nodes": 1, "cpus": 2, "disks": {"leg0": 256 * MIB, "leg1": 256 * MIB, "raw": 256 * MIB}, "name": "bench-two"}),
        ((paths, slow_path, path_fails, mirror_cost), {"nodes": 1, "disks": {"leg0": MIB}, "name": "bench-counted", "counted": True}))
ALL = [part.__name__ for parts, _ in LABS for part in parts]
asked = os.environ["ONLY"].split(",") if "ONLY" in os.environ else ALL
if set(asked) - set(ALL):
    sys.exit(f"ONLY: there is no part {', '.join(sorted(set(asked) - set(ALL)))}; there are {', '.join(ALL)}")


def tell(lab, parts):
    if lab.count > 1:
        lab.start_cluster()
    for part in parts:
        say(f"--- {part.__name__}")
        part(lab)


def write_results():
    folder = os.path.join(BUILD, "bench")
    with open(os.path.join(folder, "results.json"), "w") as f:
        json.dump(results, f, indent=1)
    width = max(len(r["name"]) for r in results)
    lines = [f"{r['name']:<{width}}  {r['value']:>9} {r['unit']:<12} {r['target']:<14} {'yes' if r['holds'] else '-' if r['holds'] is None else 'NO'}" for r in results]
    with open(os.path.join(folder, "results.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")
    return lines


os.makedirs(os.path.join(BUILD, "bench"), exist_ok=True)
for all_of_them, options in LABS:
    wanted = [part for part in all_of_them if part.__name__ in asked]
    if wanted:
        story(lambda lab, parts=wanted: tell(lab, parts), **options)
        lines = write_results()
print("\n" + "\n".join(lines) + f"\n\n{BUILD}/bench/results.json")
