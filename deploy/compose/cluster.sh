#!/usr/bin/env bash
# `make cluster`: run the cluster of docker-compose.yml on a machine that can't reach an image registry. All images are
# built here, by the running Docker daemon or by a separate one whose containers reach no other network. Prints the
# alerts that rsyslog writes. Ctrl-C stops everything; the volumes stay for the next start.
#
#   cluster.sh                PROFILES="metrics demo" selects what runs beside the pipeline
#   cluster.sh show NAME      while it runs: print a password or token, of those that credentials.py has
#   cluster.sh ARGUMENT...    while it runs: docker-compose with these arguments
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh

may_be_root 'run containers that watch this host' || { say 'a collector needs root'\''s rights.'; exit 3; }
if [ "$(id -u)" -ne 0 ]; then exec sudo --preserve-env=PYTHON,PIP_CONFIG_FILE,PIP_INDEX_URL,PROFILES "$0" "$@"; fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/lanner
store=$cache/docker variables=$cache/cluster.env
compose=(docker-compose -p lanner -f deploy/compose/docker-compose.yml)
for name in ${PROFILES-metrics demo}; do compose+=(--profile "$name"); done

use_variables() {
    set -a
    # shellcheck source=/dev/null
    . "$variables"
    set +a
}

if [ $# -gt 0 ]; then
    [ -e "$variables" ] || { say 'the cluster does not run; make cluster starts it.'; exit 3; }
    use_variables
    [ "$1" != show ] || set -- run --rm secrets "$@"
    exec "${compose[@]}" "$@"
fi

mkdir -p "$cache"
exec 9>"$cache/cluster.lock"
flock --nonblock 9 || { say 'the cluster runs already.'; exit 3; }
# Where root alone can create files, as for the machine's own daemon: the rules trust no container engine that works elsewhere.
folder=$(mktemp -d /run/lanner-cluster-XXXXXX)
daemon='' running=''
# Prefer Debian's client to others in PATH.
client=$(PATH=/usr/bin:$PATH command -v docker)

# step COMMAND...: run it in the background, so that a signal is handled at once, and in a process group of its own, so
# that Ctrl-C reaches only this script.
step() {
    local status=0
    setsid "$@" &
    running=$!
    wait "$running" || status=$?
    running=''
    return "$status"
}

end() {
    say 'stopping'
    if [ -n "$running" ]; then
        kill -- "-$running" 2>/dev/null
        wait "$running" 2>/dev/null
    fi
    if [ -e "$variables" ]; then "${compose[@]}" down --timeout 20 >/dev/null 2>&1; fi
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null
        wait "$daemon" 2>/dev/null
        # The daemon doesn't remove the mount that it names after the host's network.
        umount --lazy "$folder"/exec/netns/* 2>/dev/null
        say "images and volumes stay in $store ($(du -sh "$store" | cut -f1)) for the next start; to remove them: sudo rm -rf $store"
    fi
    rm -rf "$folder" "$variables"
}
at_end end

if [ -z "${DOCKER_HOST:-}" ] && ! "$client" version >/dev/null 2>&1; then
    say "starting a Docker daemon of its own; its images and volumes are in $store"
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
step env "DOCKER=$client" deploy/images/local/build.sh >"$folder/images"
{
    cat "$folder/images"
    printf 'LANNER_HOSTNAME=%q\n' "$(hostname)"
    if [ -n "${DOCKER_HOST:-}" ]; then
        printf 'DOCKER_HOST=%q\n' "$DOCKER_HOST"
        printf 'LANNER_DOCKER_SOCKET=%q\n' "${LANNER_DOCKER_SOCKET:-${DOCKER_HOST#unix://}}"
    fi
} >"$variables"
use_variables
say 'starting'
step "${compose[@]}" up --detach 2>"$folder/up" || { cat "$folder/up" >&2; exit 3; }

project=(--filter label=com.docker.compose.project=lanner)
ports=$("$client" ps "${project[@]}" --format '{{.Ports}}')
# address PORT: the address of this host at which a container's port is published.
address() { [[ $ports =~ ([^[:space:],]+)-\>$1/ ]] && echo "${BASH_REMATCH[1]}"; }
# Passwords are printed only on request, since this output may go to a log.
show='deploy/compose/cluster.sh show'
say "watching $LANNER_HOSTNAME: alerts as rsyslog gets them follow. In another terminal:"
say "  console       http://$(address 8778)   token: $show console-token"
say "  Kafka         $(address 9094)   user lanner-operator (SCRAM-SHA-512), password: $show operator"
say "  SIEM topics   $(address 9096)   user lanner-reader (PLAIN over TLS), password: $show reader; CA: $show certificate"
if metrics=$(address 9090); then say "  Prometheus    http://$metrics"; fi
say '  any command   deploy/compose/cluster.sh run --rm operator alerts tail    (docker-compose with these arguments)'
say 'Stop: Ctrl-C'
step "$client" exec "$("$client" ps -q "${project[@]}" --filter label=com.docker.compose.service=rsyslog)" tail -n 0 -F /var/log/lanner/alerts.log
