#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes with flushes and FUA between them, from inside a lab machine. Each time that something is to be durable a mark goes into the
log of every device under dm-log-writes. Prints one JSON list: for each mark, the blocks that are durable since, with their versions.

    flushes.py <device> <steps> <log-writes device>...
"""
import json
import mmap
import os
import random
import struct
import subprocess
import sys

device, steps, recorders = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
BLOCK, BLOCKS, STRIDE, MAGIC = 4096, 48, 37, 0x636C6F6764
fd = os.open(device, os.O_RDWR | os.O_DIRECT)
buffer = mmap.mmap(-1, BLOCK)
rng = random.Random(steps)
marks, unsure = [], {}


def write(block, version, flags=0):
    struct.pack_into("<QQQ", buffer, 0, MAGIC, block, version)
    os.pwritev(fd, [buffer], block * BLOCK, flags)


def mark(durable):
    for recorder in recorders:
        subprocess.run(["dmsetup", "message", recorder, "0", "mark", str(len(marks))], check=True)
    marks.append(sorted(durable.items()))


for step in range(1, steps + 1):
    block = rng.randrange(BLOCKS) * STRIDE
    if rng.random() < 0.2:
        write(block, step, os.RWF_DSYNC)
        unsure.pop(block, None)
        mark({block: step})
    else:
        write(block, step)
        unsure[block] = step
    if rng.random() < 0.2:
        os.fdatasync(fd)
        mark(unsure)
        unsure = {}
print(json.dumps(marks))
