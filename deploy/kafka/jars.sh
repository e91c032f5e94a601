#!/usr/bin/env bash
# Print the folder of Kafka's jars, or of those that another POM names. Maven downloads them the first time (about 45 MB, a
# few seconds). LANNER_KAFKA_JARS names another folder for Kafka's, for example one filled on a machine with network access.
#
#   jars.sh [POM]
set -euo pipefail
pom=${1:-$(cd "$(dirname "$0")" && pwd)/pom.xml}
name=Kafka own=${LANNER_KAFKA_JARS:-}
[ $# = 0 ] || name=$(basename "$pom" .xml) own=
fingerprint=$(sha256sum "$pom" | cut -c1-12)
jars=${own:-${XDG_CACHE_HOME:-$HOME/.cache}/lanner/${name,,}-$fingerprint}

complete() { [ -e "$jars/.complete" ] || { [ -n "$own" ] && [ -d "$jars" ]; }; }

if ! complete; then
    if ! command -v mvn >/dev/null; then
        echo "lanner: Maven is needed once to fetch $name's jars: install maven, or name a folder in LANNER_KAFKA_JARS." >&2
        exit 3
    fi
    echo "lanner: fetching $name's jars into $jars" >&2
    mkdir -p "$(dirname "$jars")"
    # Into a temporary folder first, so that a parallel download never sees half of it.
    fresh=$(mktemp -d "$jars.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    if ! mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$fresh" >"$fresh/log" 2>&1; then
        tail -n 15 "$fresh/log" >&2
        echo "lanner: Maven could not fetch $name's jars: see above." >&2
        exit 3
    fi
    rm -f "$fresh/log"
    touch "$fresh/.complete"
    mv -T "$fresh" "$jars" 2>/dev/null || complete
fi
echo "$jars"
