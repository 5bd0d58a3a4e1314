#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs the Debian packages that a target needs, once. Groups: build, check, lint, lab, bench, modules, debug. Leaves the system's initramfs alone.
set -euo pipefail
build=(g++ cmake ninja-build pkg-config libboost-dev libqb-dev libcorosync-common-dev libcpg-dev libquorum-dev libdevmapper-dev libsystemd-dev
  libcli11-dev nlohmann-json3-dev libfmt-dev libgtest-dev libgmock-dev librapidcheck-dev)
check=(dkms clang clang-format clang-tidy libclang-rt-14-dev shellcheck python3-minimal)
lint=(coccinelle)
lab=(qemu-system-x86 busybox-static kmod cpio xz-utils zstd iproute2 python3 corosync dmsetup lvm2 udev procps fio resource-agents e2fsprogs linux-image-amd64 linux-image-6.12-amd64)
modules=(make gcc linux-headers-amd64 linux-headers-6.12-amd64 sparse)
debug=(bc bison flex libelf-dev libssl-dev)
packages=()
bench=(mdadm dlm-controld)
for group in "$@"; do
  case $group in
    build) packages+=("${build[@]}") ;;
    check) packages+=("${check[@]}") ;;
    lint) packages+=("${lint[@]}") ;;
    lab) packages+=("${lab[@]}") ;;
    bench) packages+=("${bench[@]}") ;;
    modules) packages+=("${modules[@]}") ;;
    debug) packages+=("${debug[@]}") ;;
    *)
      echo "install-deps.sh: unknown group '$group': build, check, lint, lab, bench, modules, debug" >&2
      exit 64
      ;;
  esac
done
missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}"
if [ "$(id -u)" -ne 0 ]; then
  echo "install-deps.sh: these packages are missing and only root can install them: apt-get install ${missing[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive INITRD=No
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  exit 1
fi
