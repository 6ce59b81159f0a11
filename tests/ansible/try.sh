#!/bin/bash
# Runs inside of a machine of its own, booted by tests/ansible.sh: the playbook twice, then the site that it made.
set -euo pipefail
cd /deploy/ansible
export HOME=/root ANSIBLE_NOCOLOR=1 LC_ALL=C.UTF-8

play() { ansible-playbook -i /tests/inventory.yml site.yml; }
# Asks again until the command succeeds, for a minute at most.
until_so() {
    for _ in $(seq 120); do
        if "$@" > /dev/null 2>&1; then return; fi
        sleep 0.5
    done
    echo "not within a minute: $*"
    return 1
}
admin() { runuser -u portolan_admin -- env PORTOLAN_CONFIG=/etc/portolan/portolan.toml portolan "$@"; }

echo "--- the first run"
play
echo "--- the second run changes nothing"
play | tee /tmp/second
grep -q 'changed=0 .*failed=0' /tmp/second

echo "--- who only reads cannot push"
python3 /tests/image.py /tmp/image
push() { skopeo copy --dest-tls-verify=false --dest-creds "$1" oci:/tmp/image:1 docker://127.0.0.1:5011/app:1; }
if push 'portolan:reads only' > /tmp/refused 2>&1; then exit 1; fi
grep -qi 'unauthorized\|authentication required\|401' /tmp/refused
curl -fsS -o /dev/null -u 'portolan:reads only' http://127.0.0.1:5011/v2/
if curl -fsS -o /dev/null http://127.0.0.1:5011/v2/ 2> /dev/null; then exit 1; fi

echo "--- a push is answered"
push 'builder:reads: and writes'
until_so curl -fsS -o /dev/null http://127.0.0.1:5000/v2/app/manifests/1
journalctl --no-pager -u portolan-watch | grep -q 'exported repositories=1'

echo "--- a mirror fetches it, is crawled, and serves it"
systemctl start portolan-sync.service
admin site add volunteers
admin host add mirror.test --site volunteers --country DE
admin host opt-in mirror.test containers --url http://127.0.0.1/containers
layer=$(curl -fsS http://127.0.0.1:5000/v2/app/manifests/1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["layers"][0]["digest"])')
is_redirected() { curl -fsS -o /dev/null -D - "http://127.0.0.1:5000/v2/app/blobs/$layer" | grep -qi '^location: http://127.0.0.1/containers/'; }
until_so is_redirected || { admin host show mirror.test; exit 1; }
curl -fsSL "http://127.0.0.1:5000/v2/app/blobs/$layer" | sha256sum | grep -q "^${layer#sha256:} "

echo "--- timers instead of services that stay, and the agent"
cp /deploy/systemd/*.{service,socket,timer} /etc/systemd/system/
printf '[agent]\nregistries = ["registry.test"]\n' > /etc/portolan-agent.toml
systemctl daemon-reload
systemctl stop portolan-crawl
systemctl start portolan-export.service portolan-crawl-once.service
has_scanned() { journalctl --no-pager -u portolan-scan | grep -q 'containers: nothing new'; }
until_so has_scanned
systemctl start portolan-watch portolan-crawl portolan-agent.socket portolan-agent.service
until_so curl -fsS -o /dev/null http://127.0.0.1:5055/metrics

echo "--- nothing was forbidden, and all runs"
systemctl --no-pager --failed
systemctl is-active portolan-watch portolan-crawl portolan-serve portolan-agent docker-registry nginx postgresql rsync portolan-sync.timer
if grep -r 'permission denied' /var/log/postgresql; then exit 1; fi
if journalctl --no-pager -u 'portolan-*' | grep -E 'ERROR|code=dumped|SIGSYS|not permitted' | grep -v 'fit none of the origin'; then exit 1; fi
echo "--- passed"
