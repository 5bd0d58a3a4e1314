#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs commands for the host, over a virtio port: one JSON line each way. Several at once; each in a session of its own."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

lock = threading.Lock()


def find_port():
    while True:
        ports = "/sys/class/virtio-ports"
        for port in os.listdir(ports) if os.path.isdir(ports) else ():
            with open(f"{ports}/{port}/name") as name:
                if name.read().strip() == "agent" and os.path.exists(f"/dev/{port}"):
                    return f"/dev/{port}"
        time.sleep(0.05)


def reap():
    """Orphans end up here, at process 1; those that a thread waits for are left to it."""
    while True:
        time.sleep(5)
        try:
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if info and info.si_pid not in mine:
                os.waitpid(info.si_pid, os.WNOHANG)
        except ChildProcessError:
            pass


mine = set()


def run(port, request):
    child = subprocess.Popen(["/bin/bash", "-c", request["command"]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, start_new_session=True)
    mine.add(child.pid)
    try:
        out, _ = child.communicate(timeout=request.get("timeout", 60))
        status = child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, status = b"", 124
    mine.discard(child.pid)
    answer = {"id": request["id"], "status": status, "output": out.decode(errors="replace")[-200000:]}
    with lock:
        port.write((json.dumps(answer) + "\n").encode())
        port.flush()


def main():
    threading.Thread(target=reap, daemon=True).start()
    with open(find_port(), "r+b", buffering=0) as raw:
        port = os.fdopen(os.dup(raw.fileno()), "wb")
        with lock:
            port.write((json.dumps({"id": 0, "status": 0, "output": "ready"}) + "\n").encode())
            port.flush()
        pending = b""
        while True:
            data = raw.read(65536)
            if not data:
                time.sleep(0.05)
                continue
            pending += data
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                threading.Thread(target=run, args=(port, json.loads(line)), daemon=True).start()


sys.exit(main())
