#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon that cannot be trusted speaks with the kernel: nothing crashes, and nothing is lost.

    node1: mirror (dm-raid1-ext, log `cluster`) ── /dev/clogd ── tests/lab/hostile.py, then clogd
      │
     leg0, leg1, log

The channel is root's alone, and one daemon's at a time. Nonsense is refused, and told once; what is said at the wrong time is lived with. The daemon
dies and another one comes, under load, and then clogd: the mirror is in sync, the legs are identical. Who waits for one that hangs may be killed. A hostile one that
sends the legs away and back at random cannot crash the machine either, and the mirror can be removed.
"""
import json
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language

COMPLAINT = "the daemon wrote something that is no frame"


class Daemon:
    def __init__(self, node, mode, seed):
        self.node = node
        node.run("rm -f /run/daemon-enough; dmesg -C")
        self.result = node.background(f"exec /usr/bin/python3 {HERE}/hostile.py {mode} {seed} /run/daemon-enough")

    def complained(self):
        return self.node.run("dmesg").count(COMPLAINT)

    def is_sensible(self):
        """From now on."""
        self.node.run("touch /run/daemon-enough")

    def ends(self):
        self.node.run("pkill -f hostile.py")
        status, out = self.result()
        expect(status == 0, f"the daemon ended with {status}: {out}")
        told = json.loads(out.strip().splitlines()[-1])
        say(f"{told['frames']} frames said, {told['refused']} refused, {told['asked']} heard")
        expect(not told["wrong"], f"{told['wrong']}")
        expect(told["refused"] > 100 and told["frames"] - told["refused"] > 100, "hardly anything was said: this shows nothing")
        expect(self.complained() == 1, f"told {self.complained()} times, not once")

    def dies(self):
        self.node.run("pkill -KILL -f hostile.py")
        self.result()

    def create(self, mirror):
        wait_for("a mirror with this daemon", lambda: self.node.run(f"dmsetup create {mirror.name} --table '{mirror.table()}' 2>&1", check=False)[0] == 0)


def tell(lab):
    one = lab.node(1)
    lab.ours = True
    one.use_our_mirror(idle_ms=500)
    lab.fill("leg0")
    status, _ = one.run("setpriv --reuid 65534 --clear-groups cat /dev/clogd", check=False)
    expect(status, "somebody else than root may read the channel")
    mirror = Mirror(lab)

    say("a confused daemon")
    daemon = Daemon(one, "confused", 1)
    daemon.create(mirror)
    writing = one.keep_writing(mirror.path, span_mib=16)
    wait_for("a complaint", daemon.complained)
    time.sleep(5)
    say("it dies, and another one comes")
    daemon.dies()
    daemon = Daemon(one, "confused", 2)
    wait_for("a complaint", daemon.complained)
    time.sleep(5)
    daemon.ends()
    say("clogd comes")
    lab.start_cluster()
    mirror.wait_sync()
    writing("writes under two confused daemons and clogd")
    mirror.check_legs()
    mirror.remove()

    say("a daemon that hangs: who waits for it may be killed")
    one.kill_clogd("STOP")
    status, out = one.run(f"timeout -s KILL 3 dmsetup create {mirror.name} --table '{mirror.table()}' 2>&1", check=False)
    expect(status == 137, f"dmsetup ended with {status}: {out}")
    mirror.remove()  # without a table
    one.kill_clogd("CONT")
    mirror.create()
    mirror.wait_sync()
    mirror.remove()
    one.kill_clogd()

    say("a hostile daemon")
    daemon = Daemon(one, "hostile", 3)
    daemon.create(mirror)
    use = one.background(f"fio --name=x --filename={mirror.path} --direct=1 --ioengine=libaio --rw=randrw --bs=4k --iodepth=8 --size=16m --number_ios=2000 --continue_on_error=all 2>&1")
    wait_for("a complaint", daemon.complained)
    time.sleep(8)
    daemon.is_sensible()
    use()
    mirror.remove()
    daemon.ends()
    one.run("rmmod dm_raid1_ext dm_log_cluster")
    reports = one.reports()
    expect(not reports, f"the kernel says {reports}")


story(tell, nodes=1)
