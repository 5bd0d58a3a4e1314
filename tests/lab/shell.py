#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""make lab: a cluster with a mirror m0 to play with. `N command` runs it on node N; kill N, cut N, heal N, start N, freeze N, thaw N, quit.

make lab STORY=03 runs that story instead.
"""
import glob
import subprocess
import sys
sys.path.insert(0, __file__.rsplit("/", 1)[0])
from lab import *  # noqa: F403 - a story speaks the lab's language


def tell(lab):
    lab.start_cluster()
    Mirror(lab).create()
    print(__doc__)
    verbs = {"kill": Node.kill, "cut": Node.cut, "heal": Node.heal, "freeze": Node.freeze, "thaw": Node.thaw}
    while True:
        try:
            words = input("lab> ").split(maxsplit=1)
        except EOFError:
            return
        if not words:
            continue
        if words[0] in ("quit", "exit"):
            return
        try:
            if words[0].isdigit():
                print(lab.node(int(words[0])).run(words[1] if len(words) > 1 else f"{BUILD}/bin/clogctl status", check=False)[1], end="")
            elif words[0] == "start":
                node = lab.node(int(words[1]))
                lab.boot(node)
                node.start_corosync()
                node.start_clogd()
            elif words[0] in verbs:
                verbs[words[0]](lab.node(int(words[1])))
            else:
                print(__doc__)
        except (LabError, IndexError, ValueError) as e:
            print(e)


if len(sys.argv) > 1 and sys.argv[1]:
    found = glob.glob(f"{HERE}/scenarios/{sys.argv[1]}*.py")
    if len(found) != 1:
        print(f"make lab: no story begins with '{sys.argv[1]}'; there are:", *sorted(os.path.basename(f) for f in glob.glob(f"{HERE}/scenarios/*.py")), sep="\n  ", file=sys.stderr)
        sys.exit(64)
    sys.exit(subprocess.run([sys.executable, found[0]], check=False).returncode)
story(tell, nodes=int(sys.argv[2]) if len(sys.argv) > 2 else 3)
