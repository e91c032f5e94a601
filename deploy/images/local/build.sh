#!/usr/bin/env bash
# Build every image of deploy/compose on a machine that can't reach an image registry: Lanner's from the checkout,
# Kafka's from its jars, the others from Debian's packages, all on a base made by debootstrap. Prints the variables that
# make the compose file use them. Unchanged images are not built again.
#
#   build.sh [TARGET...]        Lanner's images to build; processor, notifier, console and collector if none is named
#
# ARCH: amd64 or arm64; then Lanner's images alone are built, for it, without an emulator, and named like
# lanner-collector:VERSION-arm64. `make images` does this.
#
# DOCKER is the client with its options. pip in the images uses the same package index as this machine's pip.
set -euo pipefail
cd "$(dirname "$0")/../../.."
read -ra docker <<<"${DOCKER:-docker}"
targets=("$@")
[ $# -gt 0 ] || targets=(processor notifier console collector)
export DOCKER_BUILDKIT=0

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
here=$(dpkg --print-architecture)
case ${ARCH:-$here} in
    amd64 | arm64) ;;
    *) echo "lanner: ARCH is amd64 or arm64, not $ARCH." >&2; exit 2 ;;
esac
total=$((2 * ${#targets[@]} + 3))
[ -n "${ARCH:-}" ] || total=$((total + 4))

# named TARGET: print the name of one of Lanner's images.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
named() { if [ -n "${ARCH:-}" ]; then echo "lanner-$1:$version-$ARCH"; else echo "lanner-local/$1"; fi; }

# step NAME COMMAND...: print its number and name, and the command's output if it fails.
step() {
    local name=$1
    shift
    # Counted in a file, because two run at a time.
    echo >>"$work/begun"
    printf 'lanner: [%d/%d] %s\n' "$(wc -l <"$work/begun")" "$total" "${name/#needs-/packages for the }" >&2
    "$@" >"$work/$name.log" 2>&1 || {
        tail -n 30 "$work/$name.log" >&2
        echo "lanner: $name could not be built: see above." >&2
        exit 3
    }
}

step objects deploy/setup/objects.sh
step debian .venv/bin/python -c 'from tests.live.debian_image import debian_tar; print(debian_tar())'
tar=$(cat "$work/debian.log")
# Each import creates a different image, which would cause everything to be built again.
base=lanner-local/$(basename "$tar" .tar):$(stat -c %Y "$tar")
"${docker[@]}" image inspect "$base" >/dev/null 2>&1 || "${docker[@]}" import "$tar" "$base" >/dev/null

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

platforms=(--build-arg "PLATFORM=linux/$here" --build-arg "TARGETARCH=${ARCH:-$here}")
if [ "${ARCH:-$here}" != "$here" ]; then
    # The classic builder creates images from nothing for its own architecture.
    mkdir "$work/empty"
    tar -cf "$work/empty/layer.tar" -T /dev/null
    printf '{"architecture":"%s","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$ARCH" "$(sha256sum "$work/empty/layer.tar" | cut -d ' ' -f 1)" >"$work/empty/config.json"
    printf '[{"Config":"config.json","RepoTags":["lanner-local/empty:%s"],"Layers":["layer.tar"]}]' "$ARCH" >"$work/empty/manifest.json"
    tar -C "$work/empty" -c manifest.json config.json layer.tar | "${docker[@]}" load -q >/dev/null
    platforms+=(--build-arg "EMPTY=lanner-local/empty:$ARCH")
fi
# Named, so that it outlives the pruning below.
stage() { step "$1" "${build[@]}" "${platforms[@]}" --target "$1" -t "lanner-local/$1${ARCH:+-$ARCH}" -f deploy/images/Dockerfile .; }
image() { step "$1" "${build[@]}" "${platforms[@]}" --target "$1" -t "$(named "$1")" -f deploy/images/Dockerfile .; }
requirements() { for target in "${targets[@]}"; do stage "needs-$target"; done; }

others() {
    local context=$work/context
    mkdir -p "$context/etc"
    cp deploy/images/local/{Dockerfile,kafka.sh,log4j2.xml} "$context"
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
        step "$target" "${build[@]}" --target "$target" -t "lanner-local/$target" "$context"
    done
}

stage build
# Beside each other, because one mostly compiles and the other mostly waits for downloads and the disk.
[ -n "${ARCH:-}" ] || others &
requirements
wait $!
for target in "${targets[@]}"; do image "$target"; done
if [ -n "${ARCH:-}" ]; then
    for target in "${targets[@]}"; do named "$target"; done
else
    for target in "${targets[@]}" rsyslog prometheus busybox kafka; do
        variable=${target//-/_}
        echo "LANNER_${variable^^}_IMAGE=lanner-local/$target"
    done
fi
# Remove former images, and what only the build needed.
"${docker[@]}" image prune --force --filter label=org.opencontainers.image.title=lanner >/dev/null
