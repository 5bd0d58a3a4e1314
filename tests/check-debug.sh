#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make check-debug [STORY="16 33"]: the modules in a kernel with KASAN, lockdep, atomic-sleep checks, debug objects, kmemleak and failslab. The kernel is built
# from Debian's source once (about ten minutes on two cores) and kept in build/debug-kernel.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${CLOGD_BUILD:-$PWD/build}
folder=$build/debug-kernel
if [ ! -e "$folder/bzImage" ] || [ tests/debug-kernel/config -nt "$folder/bzImage" ]; then
  tests/install-deps.sh debug
  rm -rf "$folder"
  mkdir -p "$folder"
  echo "fetching and building the debug kernel; $folder/build.log tells how far it is"
  (cd "$folder" && apt-get download linux-source-6.1 >/dev/null 2>&1)
  dpkg-deb --fsys-tarfile "$folder"/linux-source-6.1_*.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz | xz -dc | tar -x -C "$folder" --strip-components=1 --one-top-level=linux
  rm "$folder"/linux-source-6.1_*.deb
  if ! {
    make -s -C "$folder/linux" tinyconfig &&
      (cd "$folder/linux" && scripts/kconfig/merge_config.sh -m .config "$OLDPWD/tests/debug-kernel/config") &&
      make -s -C "$folder/linux" olddefconfig &&
      make -s -C "$folder/linux" -j "$(nproc)" bzImage modules
  } >"$folder/build.log" 2>&1; then
    tail -n 30 "$folder/build.log" >&2
    exit 1
  fi
  cp "$folder/linux/include/config/kernel.release" "$folder/release"
  cp "$folder/linux/arch/x86/boot/bzImage" "$folder/"
fi
CLOGD_BUILD=$build KERNEL_TREE=$folder/linux tests/build-modules.sh CLOGD_DEBUG=1
# Two machines at a time; each story's words come when it has ended.
export CLOGD_BUILD=$build CLOGD_LAB_DEBUG=$folder CLOGD_LAB_PATIENCE=5 CLOGD_LAB_TURN=$folder/turn
[ $# -gt 0 ] || set -- 14 16 21 22 23 24 31 33
printf '%s\n' "${@/#/tests/lab/scenarios/}" | sed 's/$/-*.py/' | xargs -I {} sh -c 'ls {}' | xargs -P 2 -n 1 bash -c 'out=$(python3 "$0" 2>&1 </dev/null); status=$?; echo "$out"; exit $status'
