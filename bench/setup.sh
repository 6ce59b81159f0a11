#!/usr/bin/env bash
# Installs what `make bench` needs beside a Rust toolchain (Debian 12, root). Safe to run again.
set -euo pipefail

if ! command -v wrk > /dev/null; then
    apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends wrk
fi
