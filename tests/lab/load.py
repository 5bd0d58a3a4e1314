#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Load on a device, from inside a lab machine, with direct I/O. Prints one JSON line when it ends.

write: random blocks of its share of the span; each block carries its number and a version that only grows. Tells the longest time
       in which no write ended, and with --verify reads every block back at the end: none may be older than what was acknowledged.
read:  all blocks again and again: none may go back to an older version, nor fail.
"""
import argparse
import json
import mmap
import os
import random
import struct
import sys
import threading
import time

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("mode", choices=("write", "read"))
p.add_argument("device")
p.add_argument("--seconds", type=float, default=5)
p.add_argument("--depth", type=int, default=4)
p.add_argument("--block", type=int, default=4096)
p.add_argument("--from-mib", type=float, default=0)
p.add_argument("--span-mib", type=float, default=8)
p.add_argument("--share", default="0/1", help="i/n: this writer's blocks are those with number %% n == i")
p.add_argument("--stride", type=int, default=1, help="use every n-th block only")
p.add_argument("--verify", action="store_true")
p.add_argument("--until", help="end when this file is there")
p.add_argument("--base", type=int, default=0, help="first version, above what is there")
a = p.parse_args()
index, shares = (int(x) for x in a.share.split("/"))
first = int(a.from_mib * (1 << 20)) // a.block
blocks = [b for b in range(first, first + int(a.span_mib * (1 << 20)) // a.block, a.stride) if b % shares == index or a.mode == "read"]
fd = os.open(a.device, os.O_RDWR | os.O_DIRECT)
MAGIC = 0x636C6F6764
end = time.monotonic() + a.seconds
lock = threading.Lock()
state = {"writes": 0, "errors": 0, "longest_gap_ms": 0.0, "longest_write_ms": 0.0, "went_back": 0, "older_than_acked": 0, "reads": 0}
versions = {b: a.base for b in blocks}
last_end = time.monotonic()


def watch():
    global end
    while time.monotonic() < end:
        if os.path.exists(a.until):
            end = 0
        time.sleep(0.1)


def buffer():
    return mmap.mmap(-1, a.block)


def read_block(b, buf):
    os.preadv(fd, [buf], b * a.block)
    magic, block, version = struct.unpack_from("<QQQ", buf)
    tail = struct.unpack_from("<Q", buf, a.block - 8)[0]
    if magic != MAGIC or block != b:
        return 0
    return version if tail == version else -1


def writer(lane):
    global last_end
    mine = [b for i, b in enumerate(blocks) if i % a.depth == lane]
    buf = buffer()
    rng = random.Random(lane + 1000 * index)
    while time.monotonic() < end and mine:
        b = rng.choice(mine)
        version = versions[b] + 1
        struct.pack_into("<QQQ", buf, 0, MAGIC, b, version)
        struct.pack_into("<Q", buf, a.block - 8, version)
        begin = time.monotonic()
        try:
            os.pwritev(fd, [buf], b * a.block)
        except OSError:
            with lock:
                state["errors"] += 1
            continue
        now = time.monotonic()
        with lock:
            versions[b] = version
            state["writes"] += 1
            state["longest_gap_ms"] = max(state["longest_gap_ms"], (now - last_end) * 1000)
            state["longest_write_ms"] = max(state["longest_write_ms"], (now - begin) * 1000)
            last_end = now


def reader():
    buf = buffer()
    seen = {}
    while time.monotonic() < end:
        for b in blocks:
            try:
                v = read_block(b, buf)
            except OSError:
                state["errors"] += 1
                continue
            state["reads"] += 1
            if v < seen.get(b, 0):
                state["went_back"] += 1
            seen[b] = max(v, seen.get(b, 0))


if a.until:
    threading.Thread(target=watch, daemon=True).start()
if a.mode == "write":
    lanes = [threading.Thread(target=writer, args=(i,)) for i in range(a.depth)]
    for t in lanes:
        t.start()
    for t in lanes:
        t.join()
    if a.verify:
        buf = buffer()
        for b, v in versions.items():
            if v > a.base and read_block(b, buf) < v:
                state["older_than_acked"] += 1
else:
    reader()
print(json.dumps(state))
sys.exit(1 if state["went_back"] or state["older_than_acked"] else 0)
