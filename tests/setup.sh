#!/bin/sh
# Installs what the tests need from Debian 12's packages. Safe to run again; starts no service.
set -eu

packages="ansible-core ansible-lint apache2 aria2 ca-certificates chromium chromium-driver containerd crun curl
 docker-registry docker.io fuse-overlayfs gnupg iproute2 netavark nginx-light podman postgresql postgresql-client
 prometheus python3-aiosmtpd python3-librepo python3-venv rabbitmq-server rsync shellcheck skopeo strace systemd uidmap
 util-linux"
[ -n "$(command -v npm)" ] || packages="$packages npm"

# Looks at pages: whether those who cannot see can use them, and whether they are valid. And at whom people sign in.
pages() {
    folder=$(dirname "$0")/../target/npm
    [ ! -e "$folder/node_modules/oidc-provider" ] || return 0
    mkdir -p "$folder"
    (cd "$folder" && npm install --silent --no-save --no-audit --no-fund axe-core@4.14.1 html-validate@9 oidc-provider@8.8.1)
}

# Makes up requests from the description of the API.
requests() {
    folder=$(dirname "$0")/../target/venv-schemathesis
    [ ! -x "$folder/bin/schemathesis" ] || return 0
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5
}

missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' \
        || missing="$missing $package"
done
if [ -z "$missing" ]; then
    pages
    requests
    exit 0
fi

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
pages
requests
