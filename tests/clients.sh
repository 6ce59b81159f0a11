#!/bin/sh
# Brings newer container clients than Debian 12's: a whole Debian of the next release, in FOLDER. Needs root.
# A FOLDER that is there stays as it is; remove it to get newer ones.
set -eu

folder=${1:?usage: $0 FOLDER}
release=forky
packages=ca-certificates,docker.io,docker-cli,containerd,podman,skopeo,crun,netavark

[ ! -e "$folder" ] || exit 0

# From where this machine's own packages come.
list_mirrors() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian'
}
[ -n "$(list_mirrors)" ] || apt-get update -qq
command -v debootstrap > /dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap

rm -rf "$folder.part"
mkdir -p "$folder.part"
# Debian's scripts for its releases are one script, which older versions of debootstrap know as sid's.
debootstrap --variant=minbase --include="$packages" "$release" "$folder.part" "$(list_mirrors | head -n 1)" sid
mv "$folder.part" "$folder"
