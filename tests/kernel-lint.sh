#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The kernel's own checkpatch over the modules and the header they share with clogd. It comes from Debian's kernel source, once.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${CLOGD_BUILD:-$PWD/build}
folder=$build/checkpatch
if [ ! -e "$folder/checkpatch.pl" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get download linux-source-6.1 >/dev/null 2>&1) || {
    echo "kernel-lint.sh: Debian's linux-source-6.1, which holds checkpatch, cannot be downloaded: apt-get update" >&2
    exit 1
  }
  dpkg-deb --fsys-tarfile "$work"/linux-source-6.1_*.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz | xz -dc |
    tar -x -C "$work" --wildcards 'linux-source-6.1/scripts/*checkpatch*' linux-source-6.1/scripts/spelling.txt
  mkdir -p "$folder"
  mv "$work"/linux-source-6.1/scripts/* "$folder/"
fi
mapfile -t files < <(git ls-files 'dm-*/*.c' 'dm-*/*.h' proto/channel.h)
perl "$folder/checkpatch.pl" --no-tree --quiet --terse --max-line-length=100 --file "${files[@]}" | grep -v '^total: 0 errors, 0 warnings' && exit 1
exit 0
