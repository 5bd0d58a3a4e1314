#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Formatting, clang-tidy, shellcheck, and two rules of the house. Prints what is wrong and fails. `lint.sh quick`: without clang's analyzer, which
# takes two thirds of the time, and Coccinelle (make check; make lint has both).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
build=${CLOGD_BUILD:-build}
status=0
mapfile -t sources < <(git ls-files '*.cc' '*.hh' 'dm-*/*.c' 'dm-*/*.h')
clang-format --dry-run -Werror "${sources[@]}" || status=1
mapfile -t scripts < <(git ls-files | while read -r f; do head -c 64 "$f" 2>/dev/null | head -n 1 | grep -qaE '^#!/bin/(ba|busybox )?sh' && echo "$f"; done)
shellcheck -S warning "${scripts[@]}" ha-configs/ocf/clogd || status=1
python3 -m py_compile tests/lab/*.py tests/lab/scenarios/*.py tests/bench/*.py || status=1
if grep -nE '#include *[<"](boost/|corosync/|qb/|sys/|unistd|thread|chrono|iostream|fstream|libdevmapper|clogd/io)' clogd/core/*; then
  echo "clogd/core is to be free of I/O, clocks and threads" >&2
  status=1
fi
if git ls-files '*.cc' '*.hh' '*.c' '*.h' '*.sh' '*.py' 'ha-configs/*' | xargs grep -L 'SPDX-License-Identifier' | grep .; then
  echo "these files lack their SPDX line" >&2
  status=1
fi
mapfile -t checked < <(git ls-files -z 'clogd/*.cc' 'cmd/*.cc' | xargs -0 stat -c '%s %n' | sort -rn | cut -d ' ' -f 2-) # the longest first
cmake -S . -B "$build/lint" -G Ninja -DCMAKE_UNITY_BUILD=OFF >/dev/null || status=1 # how each file is compiled by itself
less=()
[ "${1:-}" = quick ] && less=(--checks=-clang-analyzer-*)
found=$(printf '%s\n' "${checked[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy --quiet "${less[@]}" -p "$build/lint" --warnings-as-errors='*' 2>/dev/null | grep -E 'error:|warning:')
[ -z "$found" ] || { echo "$found"; status=1; }
tests/kernel-lint.sh "${1:-}" || status=1
exit $status
