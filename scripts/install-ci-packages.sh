#!/usr/bin/env bash
# What the tests use besides npm packages: a server for the explorer's queue. Without it (and without root to install it) those tests
# say that they are skipped.
set -euo pipefail

if command -v redis-server >/dev/null || command -v valkey-server >/dev/null; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo 'redis-server is missing and cannot be installed here: the tests that need it are skipped'
  exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server
