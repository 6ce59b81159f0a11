#!/bin/sh
# Brings newer container clients than Debian 12's: a whole Debian of the next release, in FOLDER. Needs root.
# A FOLDER that is there stays as it is; remove it to get newer ones.
set -eu

folder=${1:?usage: $0 FOLDER}
release=forky
packages=ca-certificates,docker.io,docker-cli,containerd,podman,skopeo,crun,netavark

[ ! -e "$folder" ] || exit 0
command -v debootstrap > /dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap

# From where this machine's own packages come.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
if [ -z "$mirror" ]; then
    apt-get update -qq
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
fi

rm -rf "$folder.part"
mkdir -p "$folder.part"
debootstrap --variant=minbase --include="$packages" "$release" "$folder.part" "$mirror" sid
mv "$folder.part" "$folder"
