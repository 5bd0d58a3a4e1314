#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Our multipath target does what the kernel's own does.

    node1: stock (multipath), ours (multipath-ext), over the same paths
      │
     four paths to one disk in memory (scsi_debug, hosts with one store)

Both are made with the same tables and told the same messages, and must say the same of themselves: status, table, events, errors. Then a path
goes offline under load, all of them do, and return by themselves; request-based and bio-based. What was said to have failed, or is drained, does not.
"""
import re
import sys
import time
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language
from multipath import *  # noqa: F403


class Both:
    """The kernel's own target and ours, made and told the same."""

    def __init__(self, node):
        self.node, self.maps = node, [Map(node, kind) for kind in NAMES]
        self.events = {}

    def create(self, line):
        said = [m.create(line) for m in self.maps]
        compare(f"the answer to the table '{line}'", *said)
        self.events = {}
        return said[0] is None

    def compare(self, after):
        """Table, status and the events since the last time."""
        said = {kind: [] for kind in NAMES}
        for line in self.node.run("dmsetup table; dmsetup status; dmsetup info -c --noheadings --separator ' ' -o name,events").splitlines():
            kind, *words = line.replace(":", " :", 1).split() if re.match(r"\w+: ", line) else line.split()
            if kind in said:
                said[kind].append(" ".join(words).removeprefix(": ").replace(NAMES[kind] + " ", "multipath ", 1))
        for kind, words in said.items():
            count = int(words.pop())
            words.append(f"{count - self.events.get(kind, 0)} event(s)")
            self.events[kind] = count
        compare(f"after {after}", *said.values())

    def message(self, text, mode):
        answers = self.node.run("; ".join(f"dmsetup message {m.name} 0 {text} 2>/dev/null; echo $?; dd if={m.path} of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null" for m in self.maps)).split()
        compare(f"the answer to '{text}' ({mode})", *answers)
        self.compare(f"'{text}' ({mode})")

    def remove(self):
        for m in self.maps:
            m.remove()


def tables(p):
    a, b, c, d = p
    rr = "round-robin 0"
    return [f"0 0 1 1 {rr} 2 0 {a} {b}", f"0 0 1 1 queue-length 0 2 1 {a} 1 {b} 1", f"0 0 2 1 service-time 0 2 2 {a} 1 50 {b} 1 20 service-time 0 2 2 {c} 1 1 {d} 1 0",
            f"1 queue_if_no_path 0 2 2 {rr} 2 1 {a} 1 {b} 1 {rr} 2 1 {c} 1 {d} 1", f"5 queue_if_no_path pg_init_retries 50 pg_init_delay_msecs 100 0 1 1 {rr} 1 0 {a}",
            f"3 retain_attached_hw_handler queue_mode bio 0 2 1 {rr} 1 0 {a} service-time 0 1 0 {b}", f"2 queue_mode mq 1 alua 1 1 {rr} 2 0 {a} {b}", "0 0 0 0", f"0 0 1 3 {rr} 1 0 {a}",
            f"0 0 1 1 {rr} 2 0 {a} {a}", f"2 queue_mode bio 1 alua 1 1 {rr} 1 0 {a}"]


def wrong_tables(p):
    a, b = p[:2]
    return ["", "9", "x", "1 fly 0 0 0", "2 pg_init_retries 51 0 0 0", "2 pg_init_retries 0 0 0 0", "2 pg_init_delay_msecs 60001 0 0 0", "1 pg_init_retries 0 0 0", "2 queue_mode nvme 0 0 0",
            f"0 1 nosuchhandler 1 1 round-robin 0 1 0 {a}", "0 1025 x", "0 0 0 1", f"0 0 1 0 round-robin 0 1 0 {a}", f"0 0 2 1 round-robin 0 1 0 {a}", f"0 0 1 1 fastest 0 1 0 {a}", "0 0 1 1 round-robin",
            "0 0 1 1 round-robin 0 0 0", "0 0 1 1 round-robin 0 1025 0", "0 0 1 1 round-robin 0 1 1025", f"0 0 1 1 round-robin 0 2 0 {a}", "0 0 1 1 round-robin 0 1 0 /dev/nothing", "0 0 1025 1",
            f"0 0 1 1 round-robin 0 1 1 {a} x", f"0 0 1 1 round-robin 0 1 2 {a} 1 1", f"0 0 1 1 queue-length 0 1 2 {a} 1 1", f"0 0 1 1 queue-length 0 1 1 {a} x", f"0 0 1 1 service-time 0 1 3 {a} 1 1 1",
            f"0 0 1 1 service-time 0 2 2 {a} 1 101 {b} 1 1", f"0 0 1 1 service-time 0 1 2 {a} 1 x", "0 0 1 1"]


def messages(p):
    a, b, c, _ = p
    return ["queue_if_no_path", "fail_if_no_path", f"fail_path {a}", f"fail_path {a}", f"fail_path /dev/block/{b}", f"reinstate_path {a}", f"reinstate_path {a}", f"reinstate_path {b}", "switch_group 2",
            "disable_group 1", "enable_group 1", "disable_group 2", "switch_group 1", "switch_group 9", "switch_group x", "disable_group 0", f"fail_path {c}", "fail_path 99:99", "fail_path /dev/nothing",
            "fail_path", "fly", "QUEUE_IF_NO_PATH", f"REINSTATE_PATH {c}", "queue_if_no_path now", f"fail_path {a} {b}", "fail_if_no_path"]


def compare(what, stock, ours):
    if stock != ours:
        raise LabError(f"{what}\n  the kernel's own: {stock}\n  ours:             {ours}")


def same_words(one, paths):
    both = Both(one)
    for line in wrong_tables(paths.numbers):
        expect(not both.create(line), f"'{line}' was taken")
    for line in tables(paths.numbers):
        expect(both.create(line), f"'{line}' was refused")
        both.compare(f"the table '{line}'")
        both.remove()
    say(f"{len(wrong_tables(paths.numbers))} wrong and {len(tables(paths.numbers))} good tables: the same words")
    a, b, c, d = paths.numbers
    for mode in ("rq", "bio"):  # what is asked of a group happens at the next I/O
        both.create(f"2 queue_mode {mode} 0 2 1 queue-length 0 2 1 {a} 1 {b} 1 service-time 0 2 2 {c} 1 1 {d} 1 1")
        for text in messages(paths.numbers):
            both.message(text, mode)
        both.remove()
    say(f"{len(messages(paths.numbers))} messages, request-based and bio-based: the same words and events")


def trouble(one, paths, mode):
    say(f"paths fail and return under load, {mode}")
    a, b, c, d = paths.numbers
    ours = Map(one, "ours")
    expect(ours.create(f"3 queue_if_no_path queue_mode {mode} 0 2 1 service-time 0 2 0 {a} {b} latency 0 2 0 {c} {d}") is None, "the table is refused")
    enough = one.keep_writing(ours.path, gently=True)
    time.sleep(1)
    paths.set("offline", 0)
    wait_for("the first path to fail", lambda: f"{a} F" in ours.says())
    paths.set("offline", 1)
    wait_for("the second group to be used", lambda: re.search(r" E 0 2 2 .* A 0 2 4 ", ours.says()))
    paths.set("offline")
    wait_for("all paths to fail", lambda: ours.says().count(" F ") == 4)
    expect("no path: I/O waits" in ours.ask("explain"), ours.ask("explain"))
    paths.set("running")
    wait_for("all paths to be back by themselves", lambda: ours.states() == ["active"] * 4)
    enough(f"writes while paths failed ({mode})")

    ours.message(f"fail_path {a}")
    ours.message(f"drain_path {b}")
    time.sleep(2)
    expect(ours.states() == ["failed", "draining", "active", "active"], f"{ours.states()}")
    for number in (a, b):
        ours.message(f"reinstate_path {number}")
    expect(ours.states() == ["active", "draining", "active", "active"], "what is drained returned without being told to")
    ours.message(f"undrain_path {b}")
    wait_for("the drained path to be back", lambda: ours.states() == ["active"] * 4)
    ours.remove()

    ours.create(f"5 queue_if_no_path queue_mode {mode} no_path_timeout_ms 1500 0 1 1 round-robin 0 2 0 {a} {b}")
    paths.set("offline")
    status, out = one.run(f"timeout 60 dd if={ours.path} of=/dev/null bs=4k count=1 iflag=direct 2>&1", check=False)
    expect("Input/output error" in out, f"without a path I/O waits for ever: {out}")
    paths.set("running")
    wait_for("the paths to be back", lambda: ours.states() == ["active"] * 2)
    one.run(f"dd if={ours.path} of=/dev/null bs=4k count=1 iflag=direct 2>&1")
    ours.remove()


def a_path_hangs(one, paths):
    say("a path hangs under load")
    for i in (0, 1):
        over(one, f"way{i}", paths.numbers[i])
    ours = Map(one, "ours")
    ours.create("4 queue_mode bio path_timeout_ms 500 0 1 1 queue-length 0 2 0 /dev/mapper/way0 /dev/mapper/way1")
    load = one.load("write", ours.path, seconds=8, depth=4, span_mib=8, verify=True)
    time.sleep(2)
    one.run("dmsetup suspend --noflush --nolockfs way0")
    wait_for("the path to be left", lambda: ours.states() == ["stuck", "active"])
    one.run(f"timeout 20 dd if={ours.path} of=/dev/null bs=4k count=50 iflag=direct 2>&1")
    one.run("dmsetup resume way0")
    wait_for("the path to be back", lambda: ours.states() == ["active", "active"])
    one.expect(load(), "writes while a path hung")
    ours.remove()
    one.run("dmsetup remove way0; dmsetup remove way1")


def priorities(one, paths):
    say("groups with priorities")
    a, b = paths.numbers[:2]
    ours = Map(one, "ours")

    def in_use():
        one.run(f"dd if={ours.path} of=/dev/null bs=4k count=4 iflag=direct 2>&1")
        return ours.in_use()
    for how, back in (("immediate", 2), ("manual", 1), ("300", 2)):
        ours.create(f"4 failback {how} group_prio 10,50 0 2 1 round-robin 0 1 0 {a} round-robin 0 1 0 {b}")
        expect(in_use() == 2, "the priority is not heeded")
        paths.set("offline", 1)
        expect(in_use() == 1, "the other group is not used")
        paths.set("running", 1)
        wait_for("the path to be back", lambda: ours.states() == ["active", "active"])
        if back == 2:
            wait_for(f"failback {how}", lambda: in_use() == 2)
        time.sleep(1)
        expect(in_use() == back, f"failback {how}: group {in_use()} is in use")
        ours.remove()


def tell(lab):
    one = lab.node(1)
    one.run("modprobe -qa dm-multipath dm-round-robin dm-queue-length dm-service-time scsi_dh_alua; true")  # a debug kernel has them built in
    paths = Paths(one)
    same_words(one, paths)
    for mode in ("rq", "bio"):
        trouble(one, paths, mode)
    a_path_hangs(one, paths)
    priorities(one, paths)
    one.run("rmmod dm_mpath")


story(tell, nodes=1, disks={})
