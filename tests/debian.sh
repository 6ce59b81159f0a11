#!/bin/sh
# Makes a whole Debian of RELEASE with PACKAGES (a list with commas) in FOLDER. Needs root.
# A FOLDER that is there stays as it is; remove it to get newer packages.
set -eu

release=${1:?usage: $0 RELEASE FOLDER PACKAGES}
folder=${2:?usage: $0 RELEASE FOLDER PACKAGES}
packages=${3:?usage: $0 RELEASE FOLDER PACKAGES}

[ ! -e "$folder" ] || exit 0

# From where this machine's own packages come.
list_mirrors() {
    # shellcheck disable=SC2016 # apt's variable, not the shell's
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian'
}
[ -n "$(list_mirrors)" ] || apt-get update -qq
command -v debootstrap > /dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap

rm -rf "$folder.part"
mkdir -p "$folder.part"
# Debian's scripts for its releases are one script, which older versions of debootstrap know as sid's.
debootstrap --variant=minbase --include="$packages" "$release" "$folder.part" "$(list_mirrors | head -n 1)" sid
mv "$folder.part" "$folder"
