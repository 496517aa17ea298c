#!/usr/bin/env bash
# What the tests use besides npm packages: a server for the explorer's queue, and an emulator with a kernel for devices that are real to
# a real kernel. Without them (and without root to install them) those tests say that they are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

vm=.cache/vm
packages=()
if ! command -v redis-server >/dev/null && ! command -v valkey-server >/dev/null; then packages+=(redis-server); fi
if ! command -v qemu-system-x86_64 >/dev/null; then packages+=(qemu-system-x86); fi
needs_kernel=$([ "$(uname -m)" = x86_64 ] && ! ls $vm/vmlinuz* >/dev/null 2>&1 && echo yes || echo no)
if [ ${#packages[@]} = 0 ] && [ "$needs_kernel" = no ]; then exit 0; fi

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "missing, and cannot be installed here: ${packages[*]:-a kernel for $vm}; the tests that need it are skipped"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
if [ ${#packages[@]} != 0 ]; then apt-get install -y -qq --no-install-recommends "${packages[@]}"; fi
if [ "$needs_kernel" = yes ]; then
  # The package is taken apart, not installed: only the kernel in it is wanted.
  package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  (cd "$folder" && apt-get download -qq "$package" && dpkg-deb -x ./*.deb .)
  mkdir -p $vm
  cp "$folder"/boot/vmlinuz-* $vm/
fi
