#!/usr/bin/env bash
# Archive Kafka's classes as this JVM loads them, once: a broker then starts with half of the processor time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
jars=$("$here/jars.sh")
# Another JVM can't use it.
archive=$jars/classes-$(stat -Lc %Y "$(command -v java)").jsa
[ ! -e "$archive" ] && [ -w "$jars" ] || exit 0
folder=$(mktemp -d "$jars/archive.XXXXXX")
trap 'rm -rf "$folder"' EXIT
read -r port controller < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for each in sockets:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in sockets))')
JAVA_TOOL_OPTIONS=-XX:ArchiveClassesAtExit=$folder/classes "$here/broker.sh" "$folder/kafka" "$port" "$controller" >"$folder/log" 2>&1 &
for _ in $(seq 300); do
    kill -0 $! 2>/dev/null || break
    if grep -q "Kafka Server started" "$folder/log"; then
        kill $!
        break
    fi
    sleep 0.1
done
wait $! || true
# Without it, brokers start as well.
[ ! -e "$folder/classes" ] || mv "$folder/classes" "$archive"
