#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flush or a FUA write promised is on every leg at that point, whatever power loss follows (our target).

    node1: mirror (dm-raid1-ext), log `disk`
       |
      log-writes   log-writes      record what each leg is sent, in the order in which it is durable
       |            |
      leg0         leg1
"""
import json
import struct
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language

BLOCK, MAGIC = 4096, 0x636C6F6764
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8  # of an entry (drivers/md/dm-log-writes.c)


def entries(file):
    """(sector, flags, data) in the order of the record."""
    with open(file, "rb") as f:
        magic, version, count, sector_size = struct.unpack("<QQQI", f.read(28))
        if magic != 0x6A736677736872 or version != 1:
            raise LabError(f"{file} is not a record of dm-log-writes")
        at = sector_size
        for _ in range(count):
            f.seek(at)
            sector, sectors, flags, data_length = struct.unpack("<QQQQ", f.read(32))
            if flags & MARK:
                yield sector, flags, f.read(data_length)
                at += sector_size
                continue
            at += sector_size
            data = b""
            if not flags & DISCARD:
                f.seek(at)
                data = f.read(sectors * sector_size)
                at += len(data)
            yield sector, flags, data


def check(file, marks):
    """Replays the record; at each mark the blocks must be there."""
    there, due, seen, flushes = {}, {}, 0, 0
    for sector, flags, data in entries(file):
        flushes += bool(flags & (FLUSH | FUA))
        if flags & MARK:
            name = data.split(b"\0")[0].decode()
            if not name.isdigit():
                continue
            due.update(dict(marks[int(name)]))
            seen += 1
            late = {block: (there.get(block, 0), version) for block, version in due.items() if there.get(block, 0) < version}
            if late:
                raise LabError(f"{file}, mark {name}: durable was promised, but (there, promised) are {late}")
        for at in range(0, len(data) if not flags & MARK else 0, BLOCK):
            magic, block, version = struct.unpack_from("<QQQ", data, at)
            if magic == MAGIC and block * BLOCK == sector * 512 + at:
                there[block] = max(version, there.get(block, 0))  # what a later FUA write replaced in the cache is recorded after it
    if seen != len(marks):
        raise LabError(f"{file} has {seen} of {len(marks)} marks")
    return seen, flushes


def tell(lab):
    one = lab.node(1)
    one.use_our_mirror(idle_ms=500)
    sectors = lab.sizes["leg0"] // 512
    for i in (0, 1):
        one.run(f"dmsetup create record{i} --table '0 {sectors} log-writes {lab.path(f'leg{i}')} {lab.path(f'writes{i}')}'")
    mirror = LocalMirror(lab, legs=("record0", "record1"), size_mib=lab.sizes["leg0"] // MIB, extra="nosync")
    mirror.create()
    marks = json.loads(one.run(f"/usr/bin/python3 {HERE}/flushes.py {mirror.path} 400 record0 record1", timeout=300))
    mirror.remove()
    one.run("dmsetup remove record0; dmsetup remove record1")
    for i in (0, 1):
        seen, flushes = check(lab.disks[f"writes{i}"], marks)
        say(f"leg{i}: {seen} promises kept, {flushes} flushes and FUA writes")
        if flushes < len(marks) // 2:
            raise LabError("hardly any flush reached the leg: this shows nothing")


story(tell, nodes=1, disks={"leg0": 16 * MIB, "leg1": 16 * MIB, "log": 4 * MIB, "writes0": 64 * MIB, "writes1": 64 * MIB})
