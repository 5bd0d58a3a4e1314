#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon at the kernel's channel (/dev/clogd) that cannot be trusted, from inside a lab machine. It answers what it is asked, so that a mirror can be
used, and says much else besides, until a file is there; then it answers alone. What makes no sense must be refused, all else taken. Prints one JSON line when it is
ended (SIGTERM), with what went against that.

confused: nonsense, and what a daemon may say at the wrong time: regions closed, not in sync, marked unasked, leases that end, late answers.
hostile:  legs that come and go at random, too, which only the lack of a crash can be asked of.

    hostile.py confused|hostile <seed> <file>
"""
import errno
import json
import os
import random
import select
import signal
import struct
import sys
import time

mode, seed, until = sys.argv[1], int(sys.argv[2]), sys.argv[3]
FRAME, RANGE = struct.Struct("<IHHIII"), struct.Struct("<II")
HELLO, CREATE, DESTROY, RESUME, SUSPEND, MARK, CLEAR, WANT, LOST, HELD = range(1, 11)
ANSWER, STATE, SYNCED, UNSYNCED, CLOSE, MARKED, _, TOLD, LEGS, RETRY, GROUP, TAKEN, PAUSE = range(32, 45)
ACTIVE, PRIMARY_ONLY, LOG_FAILED = 1, 2, 4
CONFIRMED = 1 << 31
TOP = (1 << 32) - 1
FRAME_MAX, WRITE_MAX = 16384, 64 << 10
rng = random.Random(seed)
regions, legs = {}, {}  # of each log
told = {"frames": 0, "refused": 0, "asked": 0, "wrong": []}


def frame(kind, log, ranges=(), serial=0, value=0, count=None, size=None):
    items = b"".join(RANGE.pack(*r) for r in ranges)
    return FRAME.pack(FRAME.size + len(items) if size is None else size, kind, len(ranges) if count is None else count, log, serial, value) + items


def say(data, sense=True):
    """Sense must be taken and nonsense refused; None: either."""
    told["frames"] += 1
    try:
        os.write(channel, data)
        took = True
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise
        took = False
    told["refused"] += not took
    if sense is not None and took != sense and len(told["wrong"]) < 5:
        told["wrong"].append(f"{'taken' if took else 'refused'}: {data[:60].hex()}")


def answer(kind, log, serial, value, items, ranges):
    told["asked"] += 1
    if kind in (CREATE, RESUME, SUSPEND, DESTROY):
        say(frame(ANSWER, log, serial=serial))
    if kind == CREATE:
        words = items.split(b"\0")[1].decode().split()
        size = next(int(w) for w in reversed(words) if w.isdigit())
        regions[log] = -(-int(words[0]) // size)
    elif kind == RESUME:
        legs[log] = value
        be_sensible(log)
    elif kind in (DESTROY, SUSPEND):
        legs.pop(log, None)
        if kind == DESTROY:
            regions.pop(log, None)
    elif kind in (MARK, WANT, LOST):
        say(frame({MARK: MARKED, WANT: SYNCED, LOST: TOLD}[kind], log, ranges))


def listen():
    while True:
        try:
            data = os.read(channel, 1 << 16)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            size, kind, count, log, serial, value = FRAME.unpack_from(data, at)
            items = data[at + FRAME.size:at + size]
            answer(kind, log, serial, value, items, [] if kind in (CREATE, HELLO) else [RANGE.unpack_from(items, i * RANGE.size) for i in range(count)])
            at += size


def every(log):
    return (1 << legs[log]) - 1


def be_sensible(log):
    say(frame(STATE, log, serial=5000, value=ACTIVE) + frame(SYNCED, log, [(0, regions[log])]))
    say(frame(LEGS, log, serial=1, value=every(log) | every(log) << 9 | CONFIRMED))


def some_range(log):
    start = rng.randrange(regions[log])
    return start, rng.randint(1, min(8, regions[log] - start))


def nonsense(log):
    kind = rng.choice((SYNCED, UNSYNCED, CLOSE, MARKED, TOLD))
    n = regions[log]
    good = frame(kind, log, [some_range(log)])
    return rng.choice((
        lambda: frame(kind, log, [(n, 1)]),
        lambda: frame(kind, log, [(rng.randrange(n), 0)]),
        lambda: frame(kind, log, [(n - 1, 2)]),
        lambda: frame(kind, log, [(TOP, 2)]),
        lambda: frame(kind, log, [(1, TOP)]),
        lambda: frame(kind, log, [some_range(log)] * 3 + [(n - 1, TOP)]),
        lambda: frame(kind, log, [some_range(log)], count=2),
        lambda: frame(kind, log, [some_range(log)], count=0),
        lambda: frame(kind, log, [some_range(log)], size=24),
        lambda: frame(kind, log, [some_range(log)], size=TOP),
        lambda: frame(kind, log, size=0, count=0),
        lambda: frame(kind, log, size=19, count=0),
        lambda: frame(kind, log, [(0, 1)] * (FRAME_MAX // RANGE.size)),
        lambda: good + good[:rng.randrange(1, len(good))],
        lambda: good[:rng.randrange(1, len(good))],
        lambda: good * (WRITE_MAX // len(good) + 1),
        lambda: frame(rng.choice((0, HELLO, CREATE, MARK, CLEAR, HELD, 38, 31, 45, 65535)), log),
        lambda: frame(TAKEN, log, serial=rng.choice((n, TOP))),
        lambda: frame(GROUP, log, serial=rng.getrandbits(32), value=rng.getrandbits(32)),
        lambda: frame(LEGS, log, value=0),
        lambda: frame(LEGS, log, value=1 | 2 << 9 | CONFIRMED),                          # read, and not written
        lambda: frame(LEGS, log, value=1 | 1 << 9 | 1 << 18 | CONFIRMED),                # the primary is not read
        lambda: frame(LEGS, log, value=1 | 1 << 9 | 15 << 18 | CONFIRMED),               # nor is it a leg
        lambda: frame(LEGS, log, value=every(log) | 511 << 9 | CONFIRMED, serial=TOP)))()  # more legs than there are


def at_the_wrong_time(log):
    return rng.choice((
        lambda: frame(rng.choice((SYNCED, UNSYNCED, CLOSE, MARKED, TOLD)), log, [some_range(log) for _ in range(rng.randint(0, 5))]),
        lambda: frame(rng.choice((SYNCED, TOLD)), log, [(0, regions[log])]),
        lambda: frame(STATE, log, serial=rng.choice((0, 1, 20, 3000, TOP)), value=rng.choice((0, ACTIVE, ACTIVE | PRIMARY_ONLY, ACTIVE | LOG_FAILED, TOP))),
        lambda: frame(ANSWER, log, serial=rng.getrandbits(32), value=rng.choice((0, 5, TOP))),
        lambda: frame(RETRY, log, value=rng.getrandbits(32)),
        lambda: frame(TAKEN, log, serial=rng.randrange(regions[log])),
        lambda: frame(PAUSE, log, serial=rng.getrandbits(1)),
        lambda: frame(rng.choice((SYNCED, LEGS, STATE, 777)), log + 1000, value=rng.getrandbits(32)),  # of a log that is gone
        lambda: frame(SYNCED, log, [some_range(log)]) * 100))()


def any_legs(log):
    return frame(LEGS, log, serial=rng.getrandbits(32), value=rng.randint(0, every(log)) | rng.randint(0, every(log)) << 9 | rng.randrange(legs[log]) << 18 | rng.choice((0, CONFIRMED)))


def end(*_):
    print(json.dumps(told))
    sys.exit()


signal.signal(signal.SIGTERM, end)
channel = os.open("/dev/clogd", os.O_RDWR | os.O_NONBLOCK)
try:
    os.open("/dev/clogd", os.O_RDWR)
    told["wrong"].append("a second daemon was let in")
except OSError as e:
    if e.errno != errno.EBUSY:
        raise
try:
    os.read(channel, 100)
    told["wrong"].append("a read with too little room was answered")
except OSError as e:
    if e.errno != errno.EINVAL:
        raise
sensible_at = 0
while not os.path.exists(until):
    select.select([channel], [], [], 0.01)
    listen()
    for log in list(legs):
        for _ in range(rng.randint(0, 6)):
            say(nonsense(log), sense=False)
            say(at_the_wrong_time(log))
            if mode == "hostile":
                say(any_legs(log), sense=None)
        say(rng.randbytes(rng.randint(1, 3000)), sense=False)
        if time.monotonic() > sensible_at:  # what waits goes on now and then
            be_sensible(log)
    if time.monotonic() > sensible_at:
        sensible_at = time.monotonic() + 0.3
for log in list(legs):
    be_sensible(log)
    say(frame(STATE, log, serial=60000, value=ACTIVE))
while True:
    select.select([channel], [], [])
    listen()
