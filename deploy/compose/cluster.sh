#!/usr/bin/env bash
# `make cluster`: run the cluster of docker-compose.yml on a machine that can't reach an image registry. All images are
# built here, by the running Docker daemon or by a separate one whose containers reach no other network. Prints the
# alerts that rsyslog writes. Ctrl-C stops everything; the volumes stay for the next start.
#
#   cluster.sh                PROFILES="metrics demo" selects what runs beside the pipeline
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh

may_be_root 'run containers that watch this host' || { say 'a collector needs root'\''s rights.'; exit 3; }
if [ "$(id -u)" -ne 0 ]; then exec sudo --preserve-env=PYTHON,PIP_CONFIG_FILE,PIP_INDEX_URL,PROFILES "$0" "$@"; fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/lc-XXXXXX")
store=${XDG_CACHE_HOME:-$HOME/.cache}/lanner/docker
daemon='' follower=''
# Prefer Debian's client to others in PATH.
client=$(PATH=/usr/bin:$PATH command -v docker)

end() {
    trap '' INT TERM
    trap - EXIT
    say 'ending; what the volumes hold stays'
    [ -z "$follower" ] || kill "$follower" 2>/dev/null || true
    compose down --timeout 20 >/dev/null 2>&1 || true
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
        # The daemon doesn't remove the mount that it names after the host's network.
        umount --lazy "$folder"/exec/netns/* 2>/dev/null || true
    fi
    rm -rf "$folder"
    exit "${1:-0}"
}

compose() {
    local profiles=() name
    for name in ${PROFILES-metrics demo}; do profiles+=(--profile "$name"); done
    docker-compose -p lanner -f deploy/compose/docker-compose.yml "${profiles[@]}" "$@"
}
trap 'end $?' EXIT
trap end INT TERM

if [ -z "${DOCKER_HOST:-}" ] && ! "$client" version >/dev/null 2>&1; then
    say 'starting a Docker daemon of its own'
    mkdir -p "$store"
    export DOCKER_HOST=unix://$folder/docker.sock
    setsid dockerd --data-root "$store" --exec-root "$folder/exec" --host "$DOCKER_HOST" --pidfile "$folder/pid" \
        --bridge=none --iptables=false --ip6tables=false >"$folder/dockerd.log" 2>&1 </dev/null &
    daemon=$!
    for _ in $(seq 300); do
        ! "$client" version >/dev/null 2>&1 || break
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.1
    done
    if ! "$client" version >/dev/null 2>&1; then
        tail -n 5 "$folder/dockerd.log" >&2
        say 'dockerd did not start: see above.'
        exit 3
    fi
fi

say 'building images; the first time takes minutes'
DOCKER=$client deploy/images/local/build.sh >"$folder/images"
set -a
# shellcheck source=/dev/null
. "$folder/images"
LANNER_HOSTNAME=$(hostname)
[ -z "${DOCKER_HOST:-}" ] || LANNER_DOCKER_SOCKET=${LANNER_DOCKER_SOCKET:-${DOCKER_HOST#unix://}}
set +a
say 'starting'
compose up --detach 2>"$folder/up" || { cat "$folder/up" >&2; exit 3; }
say "watching $LANNER_HOSTNAME: alerts as rsyslog gets them follow."
say "  broker 127.0.0.1:${LANNER_KAFKA_PORT:-9094}, user lanner-operator, password by \`docker-compose run --rm secrets show operator\`"
say "  metrics http://127.0.0.1:${LANNER_PROMETHEUS_PORT:-9090}"
[ -z "${DOCKER_HOST:-}" ] || say "  export DOCKER_HOST=$DOCKER_HOST"
say 'Stop: Ctrl-C'
# In the background, with wait, so that a trap runs at once. In its own group, so that Ctrl-C reaches only this script.
setsid "$client" exec "$(compose ps -q rsyslog)" tail -n 0 -F /var/log/lanner/alerts.log &
follower=$!
wait "$follower"
