#!/bin/sh
# Builds deploy/Containerfile around PROGRAM on a Debian 12 that is made here, as the image `localhost/portolan` of the
# podman whose storage is in FOLDER. Needs root, and some 700 MB in FOLDER; the Debian is made once.
set -eu

folder=${1:?usage: $0 FOLDER PROGRAM}
program=${2:?usage: $0 FOLDER PROGRAM}
here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$folder"
"$here/debian.sh" bookworm "$folder/debian" base-files

podman() {
    command podman --root "$folder/storage" --runroot /run/portolan-container --storage-driver=overlay \
        --events-backend=none --cgroup-manager=cgroupfs "$@"
}

podman rmi --all --force > /dev/null
tar --directory "$folder/debian" --create . | podman import --quiet - localhost/debian

# A context of its own: the program need not be where cargo puts it.
rm -rf "$folder/context"
mkdir "$folder/context"
ln "$program" "$folder/context/portolan" 2> /dev/null || cp "$program" "$folder/context/portolan"
# The program that containers run under is not needed to build one.
podman build --isolation=chroot --network=host --build-arg BASE=localhost/debian --build-arg PROGRAM=portolan \
    --file "$here/../deploy/Containerfile" --tag localhost/portolan "$folder/context"
