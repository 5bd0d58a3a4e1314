#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The kernel's own checkpatch and, if not `quick`, its Coccinelle scripts over the modules and the header they share with clogd. Both come from
# Debian's kernel source, once.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${CLOGD_BUILD:-$PWD/build}
folder=$build/kernel-scripts
if [ ! -e "$folder/checkpatch.pl" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get download linux-source-6.1 >/dev/null 2>&1) || {
    echo "kernel-lint.sh: Debian's linux-source-6.1, which holds checkpatch, cannot be downloaded: apt-get update" >&2
    exit 1
  }
  dpkg-deb --fsys-tarfile "$work"/linux-source-6.1_*.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz | xz -dc |
    tar -x -C "$work" --wildcards 'linux-source-6.1/scripts/*checkpatch*' linux-source-6.1/scripts/spelling.txt 'linux-source-6.1/scripts/coccinelle/*'
  mkdir -p "$folder"
  mv "$work"/linux-source-6.1/scripts/* "$folder/"
fi
mapfile -t files < <(git ls-files 'dm-*/*.c' 'dm-*/*.h' proto/channel.h)
warned=$(perl "$folder/checkpatch.pl" --no-tree --quiet --terse --max-line-length=100 --file "${files[@]}" | grep -v '^total: 0 errors, 0 warnings' || true)
[ -z "$warned" ] || {
  echo "$warned"
  exit 1
}
[ "${1:-}" = quick ] && exit 0

# As the kernel's scripts/coccicheck runs them, those with a report mode and without OCaml. `sz` changes in DMEMIT, which Coccinelle does not see.
one() {
  local folder
  for folder in dm-raid1-ext dm-mpath; do
    spatch -D report --no-show-diff --very-quiet --cocci-file "$1" --include-headers --dir "$folder" 2>/dev/null || return 1
  done
}
export -f one
mapfile -t scripts < <(find "$folder/coccinelle" -name '*.cocci' -exec grep -lZ 'virtual report' {} + | xargs -0 grep -L ':ocaml')
found=$(printf '%s\n' "${scripts[@]}" | xargs -P "$(nproc)" -I{} bash -c 'one {} || echo "spatch fails on {}"' | grep -v 'Unneeded variable: "sz"' || true)
[ -z "$found" ] || {
  echo "$found"
  exit 1
}
