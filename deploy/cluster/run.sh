#!/usr/bin/env bash
# Run a whole fleet on this machine: a broker, its topics, a collector of this host, two processors, and print the alerts
# as they arrive. Ctrl-C stops all processes and leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh

may_be_root "load the eBPF programs that watch this host" || { say "a collector needs root privileges."; exit 3; }
lanner=$PWD/.venv/bin/lanner
folder=$(mktemp -d "${TMPDIR:-/tmp}/lanner-cluster.XXXXXX")
ids=()

# In process groups of their own, so that Ctrl-C reaches only this script, which stops them in order.
start() {
    local name=$1
    shift
    setsid "$@" >"$folder/$name.log" 2>&1 </dev/null &
    ids+=($!)
}

end() {
    local at id
    say 'stopping'
    for ((at = ${#ids[@]} - 1; at >= 0; at--)); do
        id=${ids[at]}
        # sudo forwards the signal.
        as_root kill -TERM "$id" 2>/dev/null || continue
        for _ in $(seq 100); do
            as_root kill -0 "$id" 2>/dev/null || break
            sleep 0.1
        done
        as_root kill -KILL "$id" 2>/dev/null
    done
    wait 2>/dev/null
    as_root rm -rf "$folder"
}
at_end end

# wait_for NAME TEXT: wait until a process prints TEXT; if it exits, print its output.
wait_for() {
    for _ in $(seq 600); do
        grep -qs "$2" "$folder/$1.log" && return
        kill -0 "${ids[-1]}" 2>/dev/null || as_root kill -0 "${ids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$folder/$1.log" >&2
    say "$1 did not start: see above."
    exit 3
}

read -r port controller < <("$PWD/.venv/bin/python" -c '
import socket
held = [socket.socket() for _ in range(2)]
for each in held: each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in held))')
export LANNER__KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:$port LANNER__KAFKA__SPOOL_DIR=$folder/spool
# Two processors on one host: each takes a free port for its metrics, which its log shows.
export LANNER__HTTP__LISTEN=0

say "starting a broker on 127.0.0.1:$port"
start broker deploy/kafka/broker.sh "$folder/kafka" "$port" "$controller"
wait_for broker 'Kafka Server started'
"$lanner" topics create -q --partitions 8 --replication-factor 1 >/dev/null
for number in 1 2; do
    start "processor-$number" "$lanner" processor
    wait_for "processor-$number" 'evaluating rules:'
done
as_collector=(env "LANNER__KAFKA__BOOTSTRAP_SERVERS=$LANNER__KAFKA__BOOTSTRAP_SERVERS" "LANNER__KAFKA__SPOOL_DIR=$folder/spool" LANNER__HTTP__LISTEN=0)
[ "$(id -u)" -eq 0 ] || as_collector=(sudo "${as_collector[@]}")
start collector "${as_collector[@]}" "$lanner" collector
wait_for collector 'watching'
say "watching $(hostname): try 'sudo cat /etc/shadow' in another terminal. Other commands reach this fleet with"
say "  export LANNER__KAFKA__BOOTSTRAP_SERVERS=$LANNER__KAFKA__BOOTSTRAP_SERVERS"
say "Logs: $folder/*.log   Stop: Ctrl-C"
# In the background, with wait: this way a trap runs at once, not only after the command has exited.
setsid "$lanner" alerts tail -q --since 1m "$@" &
ids+=($!)
wait "${ids[-1]}"
