#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs the Debian packages that a target needs, once. Groups: build, check, lint, lab, bench, modules, debug. Leaves the system's initramfs alone.
# What would look at this host's own disks is unpacked for the lab's machines alone ($CLOGD_BUILD/lab/guest).
set -euo pipefail
build=(g++ cmake ninja-build pkg-config libboost-dev libqb-dev libcorosync-common-dev libcpg-dev libcmap-dev libquorum-dev libvotequorum-dev libdevmapper-dev libsystemd-dev
  libcli11-dev nlohmann-json3-dev libfmt-dev libgtest-dev libgmock-dev librapidcheck-dev)
check=(dkms clang clang-format clang-tidy libclang-rt-14-dev shellcheck python3-minimal)
lint=(coccinelle)
lab=(qemu-system-x86 busybox-static kmod cpio xz-utils zstd iproute2 python3 corosync dmsetup lvm2 udev procps fio resource-agents e2fsprogs linux-image-amd64 linux-image-6.12-amd64)
modules=(make gcc linux-headers-amd64 linux-headers-6.12-amd64 sparse)
debug=(bc bison flex libelf-dev libssl-dev)
guest=(multipath-tools open-iscsi libvirt-daemon libvirt-clients)
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
tree=${CLOGD_BUILD:-$PWD/build}/lab/guest
[[ " $* " == *" lab "* && ! $tree -nt $0 ]] || guest=() # $0 names them
[ ${#missing[@]} -eq 0 ] && [ ${#guest[@]} -eq 0 ] && exit 0
[ ${#missing[@]} -eq 0 ] || echo "installing: ${missing[*]}"
[ ${#guest[@]} -eq 0 ] || echo "for the lab's machines: ${guest[*]}"
if [ "$(id -u)" -ne 0 ]; then
  echo "install-deps.sh: these packages are missing and only root can install them: apt-get install ${missing[*]} ${guest[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive INITRD=No
log=$(mktemp)
cache=$(mktemp -d)
chmod 755 "$cache" # apt fetches as a user of its own
trap 'rm -rf "$log" "$cache" "$tree.new"' EXIT

install_missing() {
  [ ${#missing[@]} -eq 0 ] || apt-get install -y --no-install-recommends "${missing[@]}"
}

unpack_guest() { # with what they need that this host does not have
  [ ${#guest[@]} -eq 0 ] && return
  mkdir "$cache/partial" && apt-get install -y --no-install-recommends --download-only --reinstall -o Dir::Cache::archives="$cache" "${guest[@]}" || return
  rm -rf "$tree.new" && mkdir -p "$tree.new" || return
  local package
  for package in "$cache"/*.deb; do dpkg-deb -x "$package" "$tree.new" || return; done
  rm -rf "$tree" && mv "$tree.new" "$tree" && touch "$tree"
}

if ! { apt-get update && install_missing && unpack_guest; } >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  exit 1
fi
