#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds the kernel modules for every kernel whose headers are installed, into build/modules/<release>, and has sparse read them. A warning
# is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${CLOGD_BUILD:-$PWD/build}
options=("$@")
sparse=()
command -v sparse >/dev/null && sparse=(C=1 CHECK=sparse)

build_for() { # a kernel's tree or headers
  local headers=$1 release folder module log
  case $headers in
    /lib/modules/*) release=$(basename "$(dirname "$headers")") ;;
    *) release=$(cat "$headers/include/config/kernel.release") ;;
  esac
  folder=$build/modules/$release
  mkdir -p "$folder/proto"
  cp -u --preserve=timestamps proto/channel.h "$folder/proto/"
  for module in dm-raid1-ext dm-mpath; do
    mkdir -p "$folder/$module"
    cp -ru --preserve=timestamps "$module/." "$folder/$module/"
    log=$folder/$module.log
    if ! make -C "$headers" M="$folder/$module" W=1 "${sparse[@]}" "${options[@]}" modules >"$log" 2>&1 || grep -q 'warning:' "$log"; then
      echo "build-modules.sh: $module for $release:" >&2
      grep -E 'warning:|error:|Error' -A 3 "$log" >&2 || tail -n 20 "$log" >&2
      rm -r "${folder:?}/$module" # so that the next run sees it again
      return 1
    fi
    cp -u "$folder/$module"/*.ko "$folder/"
  done
  echo "built   $folder/{dm-log-cluster,dm-raid1-ext,dm-mpath}.ko"
}

pids=()
for headers in ${KERNEL_TREE:-/lib/modules/*/build}; do # or one tree that was built here
  [ -e "$headers/Makefile" ] || continue
  build_for "$headers" &
  pids+=($!)
done
if [ ${#pids[@]} -eq 0 ]; then
  echo "build-modules.sh: no kernel headers are installed: apt-get install linux-headers-amd64" >&2
  exit 1
fi
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
exit $status
