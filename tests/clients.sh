#!/bin/sh
# Brings newer container clients than Debian 12's: a whole Debian of the next release, in FOLDER. Needs root.
set -eu

exec "$(dirname "$0")/debian.sh" forky "${1:?usage: $0 FOLDER}" \
    ca-certificates,docker.io,docker-cli,containerd,podman,skopeo,crun,netavark
