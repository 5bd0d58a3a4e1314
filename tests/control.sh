#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon as a user meets it without a cluster: start, garbage on the control socket, a second daemon, no Corosync, signals, a daemon that hangs, the Pacemaker agent.
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
refused() { # exit status, text, command
  local status=$1 text=$2 out
  shift 2
  out=$("$@" 2>&1)
  [ $? -eq "$status" ] || fail "$*: not $status: $out"
  grep -q -- "$text" <<<"$out" || fail "$*: '$text' is missing: $out"
  ! grep -qE '[0-9]{30}' <<<"$out" || fail "$*: $out"
}
refused 64 "there is no command 'stauts': did you mean 'status'" ctl stauts
refused 64 "there is no option '--jsn': did you mean '--json'" ctl status --jsn
refused 64 "'foo' is not a rate" ctl rate foo
refused 2 "node '77' is not known here; known are: 1" ctl fenced 77
refused 2 "node 'node2' is not known here" ctl fenced node2
refused 64 "must be a name of" "$bin/clogctl" --control a/b status
refused 64 "must be a name of" "$bin/clogd" -f --no-kernel --control a/b
refused 64 "must be a name of" "$bin/clogd" -f --no-kernel --control "$(printf 'x%.0s' {1..300})"
refused 64 "there is no option '--foo'" "$bin/clogd" --foo

ctl dump >"$dir/dump.log" 2>&1 || fail "dump"
grep -q "ERROR: qb_rb" "$dir/dump.log" && fail "dump prints what libqb says at the end of its recorder"
left() { find /dev/shm -name '*create_from_file*' | wc -l; }
before=$(left)
ctl dump | head -n 1 >/dev/null
[ "$(left)" -eq "$before" ] || fail "dump leaves files in /dev/shm"
timeout 3 "$bin/clogctl" --control "$name" status -w --json >"$dir/watch.log"
grep -q '"ok": true' "$dir/watch.log" || fail "status -w --json"
grep -q $'\033' "$dir/watch.log" && fail "escapes in a pipe"

kill -HUP "${pids[0]}" && kill -USR1 "${pids[0]}" && kill -PIPE "${pids[0]}"
for _ in $(seq 50); do grep -q "SIGUSR1: the flight recorder is in" "$dir/solo.log" && break; sleep 0.1; done
grep -q "SIGHUP: there is no configuration file" "$dir/solo.log" || fail "SIGHUP"
grep -q "SIGUSR1: the flight recorder is in" "$dir/solo.log" || fail "SIGUSR1"
until_answers

start "$dir/second.log" --transport solo --control "$name"
wait "${pids[-1]}" && fail "a second daemon must not start"
grep -q "another clogd" "$dir/second.log" || fail "the second daemon does not say why"

# Garbage, straight at the socket: the daemon must go on.
python3 - "$name" <<'X' || fail "garbage"
import os, socket, sys
for i in range(300):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(("\0" + sys.argv[1]).ljust(108, "\0")) # libqb binds the whole of sun_path
        s.sendall(os.urandom(1 + i * 7 % 5000))
    except (BrokenPipeError, ConnectionResetError):
        pass
    s.close()
X
until_answers

start "$dir/nocorosync.log" --control "$name-b"
for _ in $(seq 50); do grep -q "is corosync running" "$dir/nocorosync.log" && break; sleep 0.1; done
grep -q "is corosync running" "$dir/nocorosync.log" || fail "no Corosync is not told"
"$bin/clogctl" --control "$name-b" status | grep -q "NOT CONNECTED" || fail "status without Corosync"
[ "$("$bin/clogctl" --control "$name-b" status >/dev/null; echo $?)" = 2 ] || fail "exit status without Corosync"
refused 2 "not connected to Corosync" "$bin/clogctl" --control "$name-b" wait-sync -t 1

run_directory=/proc/clogd
start "$dir/readonly.log" --transport solo --control "$name-c"
for _ in $(seq 50); do grep -q "is running alone" "$dir/readonly.log" && break; sleep 0.1; done
grep -q "cannot be created" "$dir/readonly.log" || fail "a read-only run directory is not told"

kill -TERM "${pids[0]}"
wait "${pids[0]}" || fail "SIGTERM must end it with 0"
grep -q "stopping" "$dir/solo.log" || fail "it does not say that it stops"

# A reader of the log that goes away.
"$bin/clogd" -f --no-kernel --run-directory "$dir" --transport solo --control "$name" 2>&1 | head -n 1 >/dev/null &
until_answers
broken=$(ctl status --json | sed -n 's/^ *"pid": *\([0-9]*\).*/\1/p')
pids+=("$broken")
kill -HUP "$broken"
until_answers
kill -TERM "$broken"
for _ in $(seq 100); do [ -d "/proc/$broken" ] || break; sleep 0.1; done

# The journal takes the priority from the line, and has its own time.
: >"$dir/journal.log"
JOURNAL_STREAM=$(stat -c %d:%i "$dir/journal.log") start "$dir/journal.log" --transport solo --control "$name-j"
for _ in $(seq 100); do grep -q "^<6>clogd .* is running" "$dir/journal.log" && break; sleep 0.1; done
grep -q "^<6>clogd .* is running" "$dir/journal.log" || fail "lines for the journal"

# The control socket's name is taken by another process: the daemon runs, says so, and takes it when it is free.
mkfifo "$dir/let-go"
python3 - "$name-t" "$dir/let-go" "$dir/taken" <<'X' &
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(("\0" + sys.argv[1]).ljust(108, "\0"))
s.listen(5)
open(sys.argv[3], "w").close()
open(sys.argv[2]).read()
X
holder=$!
pids+=("$holder")
for _ in $(seq 100); do [ -e "$dir/taken" ] && break; sleep 0.1; done
start "$dir/taken.log" --transport solo --control "$name-t"
for _ in $(seq 100); do grep -q "is running alone" "$dir/taken.log" && break; sleep 0.1; done
grep -q "is taken by process $holder" "$dir/taken.log" || fail "who has the control socket's name is not told"
echo >"$dir/let-go"
for _ in $(seq 100); do "$bin/clogctl" --control "$name-t" version >/dev/null 2>&1 && break; sleep 0.1; done
"$bin/clogctl" --control "$name-t" version >/dev/null || fail "the name is not taken when it is free"

# The Pacemaker agent, and a daemon that hangs.
if [ -r /usr/lib/ocf/lib/heartbeat/ocf-shellfuncs ]; then
  agent() { "$(dirname "$0")/../ha-configs/ocf/clogd" "$@"; }
  export OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=clogd OCF_RESKEY_binary=$bin/clogd OCF_RESKEY_clogctl=$bin/clogctl OCF_RESKEY_control=$name-o
  export OCF_RESKEY_options="--no-kernel --transport solo --run-directory $dir"
  refused 7 "" agent monitor
  refused 0 "" agent start
  refused 0 "" agent start
  refused 0 "" agent monitor
  hung=$("$bin/clogctl" --control "$name-o" status --json | sed -n 's/^ *"pid": *\([0-9]*\).*/\1/p')
  pids+=("$hung")
  kill -STOP "$hung"
  for _ in 1 2 3 4 5 6 7 8; do refused 3 "clogd hangs" "$bin/clogctl" --control "$name-o" --timeout 1 status; done # more than its socket lets wait
  refused 1 "does not answer" agent monitor
  OCF_RESKEY_clogctl=/nope
  refused 5 "/nope is not there" agent monitor
  refused 0 "killed" agent stop
  [ -e "/proc/$hung/exe" ] && fail "the agent says that clogd is stopped while it runs"
  OCF_RESKEY_clogctl=$bin/clogctl
  refused 7 "" agent monitor
  refused 3 "clogd is not there" "$bin/clogctl" --control "$name-o" status
  rm -f "/dev/shm/qb-clogd-$hung-"* # its recorder: it was killed
fi
"$bin/clogd" --transport nowhere >/dev/null 2>&1 && fail "a wrong transport is taken"
echo "ok"
