#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""No write is acknowledged that a node could miss (our target and log, two legs).

    node1 (writes)   node2   node3 (its clogd stands still)
        \\______________|______________/
              leg0, leg1, log

The first leg is given up while the third node's daemon stands still: that node still reads it, so a write that went to
the other leg alone waits for it. Everybody loses power; what was acknowledged is there.
"""
import os
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
os.environ["CLOGD_LAB_TARGET"] = "ours"
from lab import *  # noqa: F403,E402 - a story speaks the lab's language

OPEN = "f=os.open('%s', os.O_RDWR|os.O_DIRECT); b=mmap.mmap(-1,4096)"
ENDED = "/run/write-ended"


def python(node, device, what):
    return node.run(f"/usr/bin/python3 -c \"import os,mmap; {OPEN % device}; {what}\"").strip()


def write(node, device, page, letter):
    python(node, device, f"b[:]=b'{letter}'*4096; os.pwritev(f,[b],{page}*4096)")


def read(node, device, page):
    """The letter that the page is full of."""
    return python(node, device, f"os.preadv(f,[b],{page}*4096); print(chr(b[0]) if len(set(b[:])) == 1 else 'torn')")


def begin_to_write(node, device, page, letter):
    """The returned function says whether it has been acknowledged."""
    node.run(f"rm -f {ENDED}")
    node.background(f"/usr/bin/python3 -c \"import os,mmap; {OPEN % device}; b[:]=b'{letter}'*4096; os.pwritev(f,[b],{page}*4096)\" && touch {ENDED}")
    return lambda: node.run(f"test -e {ENDED}", check=False)[0] == 0


def settles(condition, seconds=4):
    """Whether it comes true, if it is given time to do what it must not."""
    end = time.time() + seconds * SLOW
    while not condition() and time.time() < end:
        time.sleep(0.25)
    return condition()


def a_follower_is_slow(lab, mirror):
    one, two, three = lab.nodes
    mirror.message("prefer 0", three)
    write(one, mirror.path, 1, "a")
    expect(read(three, mirror.path, 1) == "a", "node 3 does not read what was written")
    say("node 3's daemon stands still, and the first leg is given up")
    three.run("pkill -STOP -x clogd")
    mirror.message("fail 0", one)
    wait_for("node 1 to follow", lambda: one.run(f"dmsetup status {mirror.name}").split()[8] == "DA")
    acknowledged = begin_to_write(one, mirror.path, 1, "b")
    wait_for("the other leg to have it", lambda: read(one, lab.path("leg1"), 1) == "b")
    told = settles(acknowledged)
    seen = read(three, mirror.path, 1)
    expect(seen == "b" or not told, "a write is acknowledged, and node 3 reads what was there before it")
    say(f"node 3 reads what was there {'before' if seen == 'a' else 'after'}, and the write {'has ended' if told else 'waits'}")
    three.run("pkill -CONT -x clogd")
    wait_for("the write to end", acknowledged)
    expect(read(three, mirror.path, 1) == "b", "node 3 reads what was there before an acknowledged write")


def everybody_dies(lab, mirror, options):
    for node in lab.nodes:
        node.kill()
    lab.boot(*lab.nodes)
    lab.start_cluster(options=options)
    mirror.create()
    for node in lab.nodes:
        expect(wait_for("the mirror to be read", lambda: read(node, mirror.path, 1)) == "b", f"node {node.number} reads what was there before an acknowledged write")
    mirror.message("restore", lab.node(1))
    wait_for("the first leg to be back", lambda: all(leg["state"] == "alive" for leg in lab.node(1).log_status(mirror)["legs"]))
    mirror.wait_sync()
    mirror.check_legs()


def tell(lab):
    lab.start_cluster(options="--dead-wait-ms 40000")  # so that node 3 reads for long without its daemon
    mirror = Mirror(lab, size_mib=16, extra="nosync")
    mirror.create()
    mirror.wait_sync()
    a_follower_is_slow(lab, mirror)
    everybody_dies(lab, mirror, "--dead-wait-ms 300")


story(tell, disks={"leg0": 16 * MIB, "leg1": 16 * MIB, "log": 4 * MIB})
