#!/usr/bin/env bash
# Run a schema registry on this machine (Apicurio, in memory, so its content is lost when it stops) in the foreground;
# stop it by its process id. Confluent's API is at http://127.0.0.1:PORT/apis/ccompat/v7
#
#   registry.sh PORT
#
# LANNER_REGISTRY names a folder that contains it already; otherwise Maven downloads it the first time (about 140 MB).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
fingerprint=$(sha256sum "$here/registry.xml" | cut -c1-12)
folder=${LANNER_REGISTRY:-${XDG_CACHE_HOME:-$HOME/.cache}/lanner/registry-$fingerprint}

if [ ! -d "$folder" ]; then
    if ! command -v mvn >/dev/null; then
        echo "lanner: Maven is needed once to fetch the schema registry: install maven, or name a folder in LANNER_REGISTRY." >&2
        exit 3
    fi
    echo "lanner: fetching the schema registry into $folder" >&2
    mkdir -p "$(dirname "$folder")"
    # Into a temporary folder first, so that a parallel download never sees half of it.
    fresh=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    if ! mvn -q -B -f "$here/registry.xml" dependency:copy-dependencies -DoutputDirectory="$fresh" >"$fresh/log" 2>&1; then
        tail -n 15 "$fresh/log" >&2
        echo "lanner: Maven could not fetch the schema registry: see above." >&2
        exit 3
    fi
    tar -xzf "$fresh"/*.tar.gz -C "$fresh"
    rm -f "$fresh/log" "$fresh"/*.tar.gz
    mv -T "$fresh" "$folder" 2>/dev/null || [ -d "$folder" ]
fi
jar=$(find "$folder" -maxdepth 1 -name '*-runner.jar' | head -n 1)
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx256m -XX:-UsePerfData "-Djava.io.tmpdir=${TMPDIR:-/tmp}" \
    -Dquarkus.http.host=127.0.0.1 "-Dquarkus.http.port=$1" -jar "$jar"
