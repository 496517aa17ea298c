#!/usr/bin/env bash
# Builds a small Linux with PCI peer-to-peer memory switched on, which Debian's kernels have switched off, for the tests of
# packages/holdfast/test/vm that need one. Takes some five minutes on two cores. Needs root, for the packages.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$PWD/.cache/vm/p2pdma
config=$PWD/scripts/vm/p2pdma.config
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends gcc make libc6-dev flex bison bc libelf-dev libssl-dev xz-utils
package=$(apt-cache search --names-only '^linux-source-6\.[0-9]+$' | awk '{ print $1 }' | sort -V | tail -n 1)
cd "$folder"
apt-get download -qq "$package"
dpkg-deb --fsys-tarfile ./*.deb | tar -x "./usr/src/$package.tar.xz"
tar -xf "usr/src/$package.tar.xz"
cd "$package"
make -s allnoconfig
scripts/kconfig/merge_config.sh -m .config "$config" >/dev/null
make -s olddefconfig
grep -q '^CONFIG_PCI_P2PDMA=y' .config
make -s -j"$(nproc)" bzImage
mkdir -p "$(dirname "$target")"
cp arch/x86/boot/bzImage "$target"
echo "built $target from $package"
