#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What `make install-dkms` puts into /usr/src can be added to DKMS and built for every kernel whose headers are installed. Nothing of the
# system is touched: the sources and DKMS's own tree are in folders of this test.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
make --no-print-directory install-dkms DESTDIR="$work" >/dev/null
source=$(echo "$work"/usr/src/clogd-modules-*)
version=${source##*-}
mkdir "$work/tree"
for headers in /lib/modules/*/build; do
  release=$(basename "$(dirname "$headers")")
  if ! dkms build "clogd-modules/$version" -k "$release" --sourcetree "$work/usr/src" --dkmstree "$work/tree" --no-depmod >"$work/log" 2>&1; then
    cat "$work/log" "$work"/tree/clogd-modules/*/build/make.log >&2 2>/dev/null
    exit 1
  fi
  for module in dm-log-cluster dm-raid1-ext dm-mpath; do
    find "$work/tree/clogd-modules/$version/$release" -name "$module.ko*" | grep -q . || {
      echo "dkms.sh: DKMS built no $module for $release" >&2
      exit 1
    }
  done
  echo "dkms builds clogd-modules $version for $release"
done
