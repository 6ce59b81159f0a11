#!/bin/sh
# Installs what the tests need from Debian 12's packages. Safe to run again; starts no service.
set -eu

packages="ansible-core ansible-lint apache2 aria2 ca-certificates crun curl docker-registry docker.io containerd
 fuse-overlayfs gnupg iproute2 netavark nginx-light podman postgresql postgresql-client prometheus python3-aiosmtpd python3-librepo
 rabbitmq-server rsync shellcheck skopeo strace systemd uidmap util-linux"

missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' \
        || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# Debian starts services on installation unless this file says no;
# docker-registry would otherwise take port 5000.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi

apt-get update -qq
# shellcheck disable=SC2086 # a list of words on purpose
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
