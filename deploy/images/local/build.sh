#!/usr/bin/env bash
# Build every image of deploy/compose on a machine that can't reach an image registry: Lanner's from the checkout,
# Kafka's from its jars, the others from Debian's packages, all on a base made by debootstrap. Prints the variables that
# make the compose file use them. Unchanged images are not built again.
#
#   build.sh [TARGET...]        Lanner's images to build; processor, notifier, console and collector if none is named
#
# DOCKER is the client with its options. pip in the images uses the same package index as this machine's pip.
set -euo pipefail
cd "$(dirname "$0")/../../.."
read -ra docker <<<"${DOCKER:-docker}"
targets=("$@")
[ $# -gt 0 ] || targets=(processor notifier console collector)
export DOCKER_BUILDKIT=0

# quietly NAME COMMAND...: quiet, unless it fails.
quietly() {
    local name=$1 log
    shift
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        echo "lanner: the image $name could not be built: see above." >&2
        exit 3
    fi
    rm -f "$log"
}

tar=$(.venv/bin/python -c 'from tests.live.debian_image import debian_tar; print(debian_tar())')
# Each import creates a different image, which would cause everything to be built again.
base=lanner-local/$(basename "$tar" .tar):$(stat -c %Y "$tar")
"${docker[@]}" image inspect "$base" >/dev/null 2>&1 || quietly "$base" "${docker[@]}" import "$tar" "$base"

build=("${docker[@]}" build --network host --build-arg "BASE=$base")
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name:-}" ] || build+=(--build-arg "$name")
done
# The base already contains this machine's own certificate authority.
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST; do
    key=${name#PIP_} key=${key//_/-}
    value=${!name:-$(.venv/bin/python -m pip config get "global.${key,,}" 2>/dev/null || true)}
    [ -z "$value" ] || { export "$name=$value"; build+=(--build-arg "$name"); }
done

for target in "${targets[@]}"; do
    # Named, so that it outlives the pruning below: it takes the longest and changes seldom.
    quietly "$target" "${build[@]}" --target "needs-$target" -t "lanner-local/needs-$target" -f deploy/images/Dockerfile .
    quietly "$target" "${build[@]}" --target "$target" -t "lanner-local/$target" -f deploy/images/Dockerfile .
    variable=${target//-/_}
    echo "LANNER_${variable^^}_IMAGE=lanner-local/$target"
done

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp deploy/images/local/{Dockerfile,kafka.sh,log4j2.xml} "$context"
mkdir "$context/etc"
cp --preserve=timestamps /bin/busybox "$context/busybox"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$context/etc/passwd"
printf 'root:x:0:\n' >"$context/etc/group"
printf 'root:*:19000:0:99999:7:::\n' >"$context/etc/shadow"
chmod 600 "$context/etc/shadow"
for target in rsyslog prometheus busybox kafka; do
    if [ "$target" = kafka ]; then
        mkdir "$context/jars"
        cp --preserve=timestamps "$(deploy/kafka/jars.sh)"/*.jar "$context/jars"
    fi
    quietly "$target" "${build[@]}" --target "$target" -t "lanner-local/$target" "$context"
    echo "LANNER_${target^^}_IMAGE=lanner-local/$target"
done
# Remove former images, and what only the build needed.
"${docker[@]}" image prune --force --filter label=org.opencontainers.image.title=lanner >/dev/null
