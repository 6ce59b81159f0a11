#!/bin/sh
# Tries deploy/ansible for real: boots a Debian 12 of its own, with systemd and without a network, runs the playbook
# twice in it, pushes an image and pulls it from the mirror. Needs root, and some 1 GB in FOLDER, which it fills once.
set -eu

folder=${1:?usage: $0 FOLDER PROGRAM}
program=${2:?usage: $0 FOLDER PROGRAM}
here=$(cd "$(dirname "$0")" && pwd)
debian=$folder/debian
packages="ansible-core curl docker-registry nginx-light openssl postgresql postgresql-client rsync skopeo"

command -v systemd-nspawn > /dev/null \
    || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd-container

mkdir -p "$folder"
if [ ! -e "$debian/packages-are-there" ]; then
    "$here/debian.sh" bookworm "$debian" ca-certificates,dbus,iproute2,python3,python3-apt,systemd,systemd-sysv
    # What the playbook installs is there already, for it has no network; and nothing of it is started.
    printf '#!/bin/sh\nexit 101\n' > "$debian/usr/sbin/policy-rc.d"
    chmod 755 "$debian/usr/sbin/policy-rc.d"
    chroot "$debian" apt-get update -qq
    # shellcheck disable=SC2086 # a list of words on purpose
    DEBIAN_FRONTEND=noninteractive chroot "$debian" apt-get install -y -qq --no-install-recommends $packages
    chroot "$debian" systemctl disable docker-registry nginx postgresql
    rm "$debian/usr/sbin/policy-rc.d"
    touch "$debian/packages-are-there"
fi

cat > "$debian/etc/systemd/system/try.service" << 'END'
[Unit]
After=multi-user.target

[Service]
Type=oneshot
StandardOutput=append:/out/log
StandardError=append:/out/log
ExecStart=/tests/try.sh
ExecStopPost=/bin/systemctl poweroff --no-block
TimeoutStartSec=600

[Install]
WantedBy=multi-user.target
END
chroot "$debian" systemctl enable --quiet try.service

rm -rf "$folder/out"
mkdir -p "$folder/out"
timeout 900 systemd-nspawn --quiet --directory "$debian" --boot --volatile=overlay --private-network \
    --register=no --keep-unit --console=pipe --bind-ro="$here/../deploy:/deploy" --bind-ro="$here/ansible:/tests" \
    --bind-ro="$program:/portolan" --bind="$folder/out:/out" > "$folder/out/console" 2>&1 || true
cat "$folder/out/log"
grep -qx -- '--- passed' "$folder/out/log"
