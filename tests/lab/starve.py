#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""In a machine whose kernel has fault injection: loads a table again and again, and each time another allocation fails: the first, the second, and so on,
until none is left that could. starve.py <device> <sectors> <target> <parameters>; prints how many there were. Each load must be refused or be whole."""
import errno
import fcntl
import os
import struct
import sys

HEADER = struct.Struct("=3IIIIiIIIQ128s129s7s")  # struct dm_ioctl
DEV_CREATE, DEV_REMOVE, TABLE_LOAD, TABLE_CLEAR = 3, 4, 9, 10
MOST = 3000


def ask(control, command, name, payload=b"", fail=0):
    """Errno, and whether an allocation was made to fail."""
    size = HEADER.size + len(payload)
    buffer = bytearray(HEADER.pack(4, 0, 0, size, HEADER.size, 1 if payload else 0, 0, 0, 0, 0, 0, name.encode(), b"", b"") + payload)
    nth = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
    os.pwrite(nth, str(fail).encode(), 0)
    error = 0
    try:
        fcntl.ioctl(control, 3 << 30 | HEADER.size << 16 | 0xFD << 8 | command, buffer)
    except OSError as e:
        error = e.errno
    left = int(os.pread(nth, 16, 0))
    os.pwrite(nth, b"0", 0)
    os.close(nth)
    return error, bool(fail) and left == 0


def main():
    name, sectors, target, parameters = sys.argv[1], int(sys.argv[2]), sys.argv[3], " ".join(sys.argv[4:])
    text = parameters.encode() + b"\0"
    text += bytes(-len(text) % 8)
    table = struct.pack("=QQiI16s", 0, sectors, 0, 0, target.encode()) + text
    with open("/dev/mapper/control", "r+b", buffering=0) as control:
        error, _ = ask(control, DEV_CREATE, name)
        if error:
            sys.exit(f"creating {name}: {errno.errorcode[error]}")
        refused = 0
        for n in range(1, MOST):
            error, failed = ask(control, TABLE_LOAD, name, table, n)
            refused += error != 0
            if not error:
                ask(control, TABLE_CLEAR, name)
            if not failed:
                break
        ask(control, DEV_REMOVE, name)
        if error:
            sys.exit(f"with every allocation the table is refused: {errno.errorcode[error]}")
        print(f"{n - 1} allocations failed in turn, {refused} times the table was refused")
        if n < 10 or not refused or n + 1 == MOST:
            sys.exit("this shows nothing")


main()
