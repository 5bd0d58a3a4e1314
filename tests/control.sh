#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon as a user meets it without a cluster: start, garbage on the control socket, a second daemon, no Corosync, SIGTERM.
set -u
bin=${CLOGD_BUILD:?}/asan/bin
[ -x "$bin/clogd" ] || bin=$CLOGD_BUILD/bin
dir=$(mktemp -d)
name=clogd-test-$$
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$dir"' EXIT
fail() {
  echo "FAILED: $*" >&2
  cat "$dir"/*.log >&2
  exit 1
}
start() { # log file, options
  local file=$1
  shift
  "$bin/clogd" -f --no-kernel --run-directory "${run_directory:-$dir}" "$@" >"$file" 2>&1 &
  pids+=($!)
}
ctl() { "$bin/clogctl" --control "$name" "$@"; }
until_answers() { for _ in $(seq 100); do ctl version >/dev/null 2>&1 && return; sleep 0.1; done; fail "the daemon does not answer"; }

ctl status >"$dir/none.log" 2>&1
[ $? -eq 3 ] || fail "clogctl without a daemon must end with 3"
grep -q "systemctl start clogd" "$dir/none.log" || fail "no remedy is named"

start "$dir/solo.log" --transport solo --control "$name"
until_answers
ctl status | grep -q "no log is in use" || fail "status"
ctl status --json | python3 -c 'import json,sys; s=json.load(sys.stdin); assert s["ok"] and s["corosync"]["quorate"] and s["logs"]==[]' || fail "status --json"
ctl version --json | grep -q '"clogd"' || fail "version"
ctl dump | grep -q "is running alone" || fail "the flight recorder lacks the start"
ctl wait-sync -t 2 | grep -q "in sync" || fail "wait-sync"
ctl rate 5 2>"$dir/rate.log"
[ $? -eq 2 ] || fail "rate without a log"
ctl rate -- -1 2>"$dir/rate.log"
[ $? -eq 64 ] || fail "a rate below 0"
ctl map 2>"$dir/map.log"
[ $? -eq 2 ] || fail "map without a log"
ctl fenced 1 2>&1 | grep -q "is in the cluster" || fail "fencing a living node"
ctl nonsense >/dev/null 2>&1
[ $? -eq 64 ] || fail "usage"

start "$dir/second.log" --transport solo --control "$name"
wait "${pids[-1]}" && fail "a second daemon must not start"
grep -q "another clogd" "$dir/second.log" || fail "the second daemon does not say why"

# Garbage, straight at the socket: the daemon must go on.
python3 - "$name" <<'X' || fail "garbage"
import os, socket, sys
for i in range(300):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect("\0" + sys.argv[1])
        s.sendall(os.urandom(1 + i * 7 % 5000))
    except OSError:
        pass
    s.close()
X
until_answers

start "$dir/nocorosync.log" --control "$name-b"
for _ in $(seq 50); do grep -q "is corosync running" "$dir/nocorosync.log" && break; sleep 0.1; done
grep -q "is corosync running" "$dir/nocorosync.log" || fail "no Corosync is not told"
"$bin/clogctl" --control "$name-b" status | grep -q "NOT CONNECTED" || fail "status without Corosync"
[ "$("$bin/clogctl" --control "$name-b" status >/dev/null; echo $?)" = 2 ] || fail "exit status without Corosync"

run_directory=/proc/clogd
start "$dir/readonly.log" --transport solo --control "$name-c"
for _ in $(seq 50); do grep -q "is running alone" "$dir/readonly.log" && break; sleep 0.1; done
grep -q "cannot be created" "$dir/readonly.log" || fail "a read-only run directory is not told"

kill -TERM "${pids[0]}"
wait "${pids[0]}" || fail "SIGTERM must end it with 0"
grep -q "stopping" "$dir/solo.log" || fail "it does not say that it stops"
"$bin/clogd" --transport nowhere >/dev/null 2>&1 && fail "a wrong transport is taken"
echo "ok"
