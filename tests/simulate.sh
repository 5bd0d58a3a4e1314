#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# simulate.sh FIRST COUNT: runs COUNT seeds from FIRST on, shared out among the processors. Fails if any seed does.
set -uo pipefail
first=$1 count=$2
sim=${CLOGD_BUILD:-build}/bin/clogd-sim
jobs=$(nproc)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null' INT TERM
for ((j = 0; j < jobs; j++)); do
  "$sim" --first $((first + j)) --step "$jobs" --seeds $(((count - j + jobs - 1) / jobs)) &
  pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
exit $status
