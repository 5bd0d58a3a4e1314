#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make check: every step runs, also after one has failed; the last line counts them. `check.sh stories`: every story, with both kernels and both
# targets, and nothing else.
set -uo pipefail
shopt -s lastpipe
cd "$(dirname "$0")/.." || exit 1
export CLOGD_BUILD=${CLOGD_BUILD:-$PWD/build}
jobs=$(nproc)
seeds=${SEEDS:-10000}
passed=0 failed=0
names=()
told=()
took=
logs=$CLOGD_BUILD/check
rm -rf "$logs"
mkdir -p "$logs"
begin=$SECONDS
declare -A asides
# shellcheck disable=SC2046
trap 'kill $(jobs -p) 2>/dev/null' EXIT

step() {
  local name=$1 start=$SECONDS
  shift
  local file
  file=$logs/$(tr ' /' '__' <<<"$name").log
  if "$@" >"$file" 2>&1; then
    passed=$((passed + 1))
    echo "ok      $name (${took:-$((SECONDS - start))} s)"
  else
    failed=$((failed + 1))
    names+=("$name")
    echo "FAILED  $name (${took:-$((SECONDS - start))} s); the end of $file:"
    tail -n 40 "$file" | sed 's/^/        /'
  fi
}

build_in() { # folder, cmake options, targets
  local folder=$1 options=$2
  shift 2
  # shellcheck disable=SC2086
  cmake -S . -B "$folder" -G Ninja $options && ninja -C "$folder" -j "$jobs" "$@"
}

with_clang() {
  CC=clang CXX=clang++ "$@"
}

fuzz() { # at once
  local target pids=() status=0
  for target in "$@"; do
    fuzz_one "$target" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  return $status
}

fuzz_one() {
  local target=$1 corpus=$CLOGD_BUILD/corpus/$1
  mkdir -p "$corpus"
  FUZZ_TARGET=$target "$CLOGD_BUILD/asan/bin/clogd-fuzz" -max_total_time="${FUZZ_SECONDS:-10}" -print_final_stats=0 -close_fd_mask=1 -artifact_prefix="$corpus/crash-" "$corpus"
}

unit_tests() { # shared out among the processors
  local shard pids=() status=0
  for ((shard = 0; shard < jobs; shard++)); do
    GTEST_TOTAL_SHARDS=$jobs GTEST_SHARD_INDEX=$shard "$1" --gtest_brief=1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=1; done
  return $status
}

same_hash() {
  local a b
  a=$("$CLOGD_BUILD/bin/clogd-sim" --first 7000 --seeds 20 --hashes)
  b=$("$CLOGD_BUILD/bin/clogd-sim" --first 7000 --seeds 20 --hashes)
  echo "$a"
  [ "$a" = "$b" ]
}

# Stories, "<kernel> <target: stock or ours> <story>" each: the machines of one boot while the one before is told (lab.py, CLOGD_LAB_TURN).
stories() {
  local kernel target name status
  # lastpipe: the loop counts in this shell, and Ctrl-C reaches what is before it.
  printf '%s\n' "$@" | CLOGD_LAB_TURN=$logs/turn xargs -P 2 -L 1 bash -c 'name=${3##*/} name=${name%.py} begin=$SECONDS
    CLOGD_LAB_KERNEL=$1 CLOGD_LAB_TARGET=$2 timeout --foreground 900 python3 "$3" >"$0/$name-$1-$2.out" 2>&1 </dev/null
    echo "$? $(sed -n "s/.* passed: .*, \([0-9]*\) s$/\1/p" "$0/$name-$1-$2.out" | grep . || echo $((SECONDS - begin))) $1 $2 $name"' "$logs" |
    while read -r status took kernel target name; do
      step "lab $name on Linux $kernel$([ "$target" = ours ] && echo ", our target")" ended "$status" "$logs/$name-$kernel-$target.out"
      took=
    done
}

ended() { # status and output of a story
  cat "$2"
  return "$1"
}

aside() { # name, command: runs beside what comes next
  local name=$1
  shift
  "$@" >"$logs/$name.out" 2>&1 &
  asides[$name]=$!
}

awaited() { # the same, ended
  wait "${asides[$1]}"
  ended $? "$logs/$1.out"
}

with() { # kernel, target, stories: a line for each
  local kernel=$1 target=$2
  shift 2
  printf "%s\n" "${@/#/$kernel $target }"
}

# The unit tests are built and run with sanitizers alone.
step "build" build_in "$CLOGD_BUILD" -DCMAKE_BUILD_TYPE=RelWithDebInfo clogd clogctl clogd-sim
step "modules for every installed kernel" tests/build-modules.sh
[ "${1:-}" = stories ] || step "modules by DKMS" tests/dkms.sh
if [ "${1:-}" != stories ]; then
  step "build with sanitizers" with_clang build_in "$CLOGD_BUILD/asan" "-DCMAKE_BUILD_TYPE=RelWithDebInfo -DCLOGD_SANITIZE=ON -DCLOGD_FUZZ=ON" clogd-unit clogd-sim clogd clogctl clogd-fuzz
  aside control tests/control.sh # it waits more than it works
  step "unit tests with sanitizers" unit_tests "$CLOGD_BUILD/asan/bin/clogd-unit"
  step "simulator with sanitizers, 200 seeds" env CLOGD_BUILD="$CLOGD_BUILD/asan" tests/simulate.sh 500000 200
  step "simulator, the same seed gives the same trace" same_hash
  step "fuzz wire, ulog" fuzz wire ulog
  step "fuzz ctr, slot, thin" fuzz ctr slot thin
  step "fuzz state, cluster, picture" fuzz state cluster picture
  step "control socket and start-up" awaited control
fi
at=tests/lab/scenarios
if [ "${1:-}" = stories ]; then
  for kernel in 6.1 6.12; do # from 14 on they say themselves which target they want
    mapfile -t -O "${#told[@]}" told < <(with $kernel stock $at/*.py && with $kernel ours $at/0*.py $at/1[01]-*.py)
  done
else
  mapfile -t told < <(with 6.1 stock $at/0[3567]-*.py $at/1[379]-*.py $at/4[234]-*.py && with 6.12 ours $at/03-*.py)
  # Of one machine each: two at a time, the longest first. In check-stories alone is what takes minutes (among others 15, 18, 23, 24, 36, 37: LVM,
  # suspends, legs in turn, a multipath map in use and its array; 10: fifty logs), and what the simulator or another story has seen in every order
  # (01, 02, 04, 08, 09, 11; 16).
  mapfile -t -O "${#told[@]}" told < <(with 6.12 stock $at/21-*.py $at/35-*.py $at/14-*.py && with 6.1 stock $at/20-*.py $at/33-*.py $at/12-*.py $at/32-*.py $at/38-*.py $at/4[01]-*.py)
  # The stories leave half a processor idle.
  aside simulator nice -n 19 tests/simulate.sh 1 "$seeds"
  aside lint nice -n 19 tests/lint.sh quick
  aside hunt nice -n 19 "$CLOGD_BUILD/bin/clogd-sim" --hunt --seeds 20000
fi
stories "${told[@]}"
if [ "${1:-}" != stories ]; then
  step "lint" awaited lint
  step "simulator, $seeds seeds" awaited simulator
  step "simulator, every planted bug is found" awaited hunt
fi

echo
[ $failed -eq 0 ] || printf 'failed: %s\n' "${names[@]}"
echo "took $((SECONDS - begin)) s"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
