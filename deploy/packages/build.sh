#!/usr/bin/env bash
# `make wheel`, `make packages` and `make tarball`: Lanner with the rules and the compiled eBPF program.
#
#   build.sh wheel [FOLDER]        writes FOLDER/lanner-VERSION-py3-none-any.whl (build/, if not given) and prints its name
#   build.sh packages [FOLDER]     writes that, a .deb, a .rpm, a CycloneDX SBOM for each, and SHA256SUMS
#   build.sh tarball [FOLDER]      writes FOLDER/lanner-collector-VERSION-MACHINE.tar.gz, for hosts that have neither
#                                  Python nor compiler, its SBOM, and SHA256SUMS
#   build.sh images FOLDER IMAGE...   writes an SBOM of each container image, and SHA256SUMS; DOCKER is the client
#   build.sh sums [FOLDER]         writes SHA256SUMS again, of all artifacts in it
#
# ARCH: amd64 or arm64, for which packages and tarball are; this machine's if it isn't set.
# LANNER_SIGNING_KEY: a file with an OpenPGP private key that signs the packages and SHA256SUMS; NFPM_PASSPHRASE: its
# passphrase, if it has one. LANNER_TARBALL_ENVIRONMENT: a virtual environment with all that the tarball is made of and
# by, as the tests' is; then it gets no SBOM.
#
# Built on Debian 12, as the needed glibc is Debian's. Times come from the newest commit, and versions from
# constraints.txt and from here: without a key, the same commit on the same system gives the same bytes.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh
SETUPTOOLS=80.9.0 CYCLONEDX=7.5.0 NFPM=2.45.1
PYTHON=${PYTHON:-/usr/bin/python3}
here=$(dpkg --print-architecture)
architecture=${ARCH:-$here}
case $architecture in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *) say "ARCH is amd64 or arm64, not $architecture."; exit 2 ;;
esac
target=$(realpath -m "${2:-build}")
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lanner-packages
mkdir -p "$target" "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

# A copy of what the repository has: nothing of former builds, and readable by all, whatever the umask here.
copy=$work/lanner
sources() {
    mkdir "$copy"
    git ls-files -z | tar --null -cf - -T - | tar -C "$copy" -xf -
    deploy/setup/objects.sh >&2
    # Without a file that another build is writing.
    install -m 0644 -D -t "$copy/collector/bpf/objects" collector/bpf/objects/bpf-*.json
    chmod -R u=rwX,go=rX "$copy"
}

wheel() {
    echo "setuptools==$SETUPTOOLS" >"$work/constraints"
    PIP_BUILD_CONSTRAINT=$work/constraints .venv/bin/python -m pip wheel --disable-pip-version-check -q --no-deps \
        --wheel-dir "$work" "$copy"
    mv "$work"/lanner-*.whl "$target"
    echo "$target/lanner-$version-py3-none-any.whl"
}

# environment NAME REQUIREMENT...: a virtual environment with them, but without Lanner and pip; cached.
environment() {
    local name=$1 folder
    shift
    folder=$cache/$name-$({ "$PYTHON" -VV; cat pyproject.toml constraints.txt; echo "$@"; } | sha256sum | cut -c1-16)
    # One build at a time makes them.
    exec 9>"$cache/lock"
    flock 9
    if [ ! -f "$folder/complete" ]; then
        say "making the environment of the packages' $name"
        # Another build may be using those that are not old.
        find "$cache" -maxdepth 1 -name "$name-*" -mtime +7 -exec rm -rf {} +
        rm -rf "$folder"
        "$PYTHON" -m venv --without-pip "$folder"
        pip=(.venv/bin/python -m pip --disable-pip-version-check --python "$folder/bin/python")
        "${pip[@]}" install -q -c constraints.txt "$@" >&2
        "${pip[@]}" uninstall -q -y lanner >&2
        touch "$folder/complete"
    fi
    echo "$folder"
}
# Apart from each other, as PyInstaller packs what it finds.
bundler() { environment bundler '.[tarball]'; }
tools() { environment tools "cyclonedx-bom==$CYCLONEDX"; }

# bundle STAGES: Lanner with a Python and its libraries, in $lib; sets what they need of glibc. STAGES: all or collector.
bundle() {
    local site
    for tool in "$PYTHON" readelf; do
        command -v "$tool" >/dev/null || { say "$tool is missing: apt-get install python3-venv libpython3.11 binutils"; exit 3; }
    done
    site=$(echo "$needs"/lib/python3*/site-packages) lib=$work/dist/lib root=/
    LANNER_STAGES=$1 PYTHONPATH=$site "$bundler/bin/pyinstaller" -y --log-level ERROR \
        --distpath "$work/dist" --workpath "$work/build" "$copy/deploy/tarball/lanner.spec"
    if [ "$architecture" != "$here" ]; then
        root=$work/debian
        deploy/setup/debian.sh "$architecture" "$root" "lib$(basename "$(dirname "$site")")" libstdc++6
        .venv/bin/python deploy/packages/foreign.py "$site" "$work" "$root"
    fi
    glibc=$(find "$lib" -type f \( -name '*.so*' -o -name lanner \) -exec readelf -VW {} + 2>/dev/null |
        grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -n 1)
    glibc=${glibc#GLIBC_}
}

# licenses FOLDER: collect those of all that is bundled.
licenses() {
    mkdir -p "$1/pyinstaller"
    "$needs/bin/python" deploy/packages/licenses.py "$lib/_internal" "$1" "$root"
    # It is about the loader, which is bundled.
    install -m 0644 "$bundler"/lib/python3*/site-packages/pyinstaller-*.dist-info/licenses/COPYING.txt "$1/pyinstaller"
}

# sbom FILE [ARGUMENT...]: write FILE.cdx.json, about the packages that the interpreter $python has, and those of Debian
# that sbom.py finds by these arguments.
sbom() {
    "$tools/bin/cyclonedx-py" environment --output-reproducible --pyproject pyproject.toml --mc-type application \
        -o "$work/sbom" "$python" 2>/dev/null
    "$PYTHON" deploy/packages/sbom.py "$work/sbom" "${@:2}" >"$1.cdx.json"
}

# What both packages hold, in $work/package/root.
contents() {
    local packed=$work/package/root shell
    bundle all
    install -d "$packed"/usr/{bin,lib/systemd/system,share/{bash-completion/completions,fish/vendor_completions.d,man/man1}} \
        "$packed"/usr/share/doc/lanner/{examples,licenses}
    licenses "$packed/usr/share/doc/lanner/licenses"
    cp LICENSE "$packed/usr/share/doc/lanner/copyright"
    cp deploy/systemd/*.conf "$packed/usr/share/doc/lanner/examples"
    for unit in deploy/systemd/*.service; do
        program=/usr/bin/lanner
        # PyArrow would make the packages larger by half on each host, and one host of a fleet needs it: docs/archive.md.
        [ "${unit##*/}" != lanner-archive.service ] || program=/opt/lanner/bin/lanner
        sed -e "s#/usr/local/bin/lanner#$program#"'; s#^Documentation=.*#Documentation=man:lanner(1)#' \
            "$unit" >"$packed/usr/lib/systemd/system/${unit##*/}"
    done
    sbom "$work/package/all" "$lib/_internal" "$root"
    cp "$work/package/all.cdx.json" "$packed/usr/share/doc/lanner/sbom.cdx.json"
    (cd "$copy" && PYTHONPATH=$copy "$needs/bin/python" deploy/packages/man.py) | gzip -9n >"$packed/usr/share/man/man1/lanner.1.gz"
    for shell in bash zsh fish; do
        (cd "$copy" && "$needs/bin/python" -m lanner completion "$shell") >"$work/package/completion.$shell"
    done
    mv "$work/package/completion.bash" "$packed/usr/share/bash-completion/completions/lanner"
    mv "$work/package/completion.fish" "$packed/usr/share/fish/vendor_completions.d/lanner.fish"
    cp "$copy"/deploy/packages/{lanner.yaml,installed.sh,removing.sh,removed.sh} "$work/package"
    mv "$lib" "$packed/usr/lib/lanner"
    ln -s ../lib/lanner/lanner "$packed/usr/bin/lanner"
    chmod -R u=rwX,go=rX "$work/package"
}

packages() {
    needs=$(environment libraries '.[all]') python=$needs/bin/python
    bundler=$(bundler) tools=$(tools)
    # The name of the module has nfpm's major version.
    [ -x "$cache/nfpm-$NFPM/nfpm" ] || GOBIN=$cache/nfpm-$NFPM go install "github.com/goreleaser/nfpm/v2/cmd/nfpm@v$NFPM"
    contents
    export LANNER_GLIBC=$glibc LANNER_VERSION=$version LANNER_ARCHITECTURE=$architecture
    export LANNER_SIGNING_KEY=${LANNER_SIGNING_KEY:+$(realpath "$LANNER_SIGNING_KEY")}
    files=("$(wheel)")
    sbom "${files[0]}"
    for packager in deb rpm; do
        (cd "$work/package" && "$cache/nfpm-$NFPM/nfpm" package -f "$OLDPWD/deploy/packages/nfpm.yaml" -p "$packager" -t "$work") >&2
        file=$(basename "$work"/lanner[-_]*."$packager")
        mv "$work/$file" "$target"
        cp "$work/package/all.cdx.json" "$target/$file.cdx.json"
        files+=("$target/$file")
    done
    sums
    printf '%s\n' "${files[@]}"
}

tarball() {
    local packed=$work/packed/lanner file=$target/lanner-collector-$version-$machine.tar.gz
    needs=${LANNER_TARBALL_ENVIRONMENT:-$(environment collector '.[collector]')}
    bundler=${LANNER_TARBALL_ENVIRONMENT:-$(bundler)}
    bundle collector
    mkdir -p "$packed/bin"
    licenses "$packed/licenses"
    if [ -z "${LANNER_TARBALL_ENVIRONMENT:-}" ]; then
        tools=$(tools) python=$needs/bin/python
        sbom "$file" "$lib/_internal" "$root"
    fi
    cp LICENSE deploy/systemd/lanner-collector.service "$packed"
    sed "s/@GLIBC@/$glibc/; s/@MACHINE@/$machine/" deploy/tarball/README.md >"$packed/README.md"
    mv "$lib" "$packed/lib"
    ln -s ../lib/lanner "$packed/bin/lanner"
    # Whatever the umask here: root alone writes, all may read.
    chmod -R u=rwX,go=rX "$packed"
    tar -C "$work/packed" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - lanner |
        gzip -n >"$work/tarball"
    mv "$work/tarball" "$file"
    sums
    echo "$file"
}

images() {
    local image docker container system=$work/image name identity
    read -ra docker <<<"${DOCKER:-docker}"
    tools=$(tools) python=$work/python
    for image in "$@"; do
        mkdir "$system"
        container=$("${docker[@]}" create "$image")
        "${docker[@]}" export "$container" | tar -C "$system" -x opt/lanner var/lib/dpkg
        "${docker[@]}" rm "$container" >/dev/null
        # Those without a package manager have a file for each package.
        for file in "$system"/var/lib/dpkg/status.d/*; do
            [ ! -f "$file" ] || { cat "$file"; echo; } >>"$system/var/lib/dpkg/status"
        done
        # Stands for the image's interpreter, which may be for another architecture.
        printf '#!/bin/sh\necho '\''["%s"]'\''\n' "$(echo "$system"/opt/lanner/lib/python3*/site-packages)" >"$python"
        chmod +x "$python"
        name=${image##*/} identity=$("${docker[@]}" image inspect -f '{{.Id}}' "$image")
        sbom "$target/lanner-image-$(tr : _ <<<"${name#lanner-}")-$("${docker[@]}" image inspect -f '{{.Architecture}}' "$image")" \
            "" "$system" "$image" "$identity"
        rm -rf "$system"
    done
    sums
}

sums() {
    (cd "$target" && sha256sum -- lanner[-_]* >SHA256SUMS)
    if [ -n "${LANNER_SIGNING_KEY:-}" ]; then
        export GNUPGHOME=$work/gnupg
        mkdir -m 0700 "$GNUPGHOME"
        gpg --batch --quiet --import "$LANNER_SIGNING_KEY"
        # Not as an argument, which all users of this machine can read.
        gpg --batch --quiet --pinentry-mode loopback --passphrase-fd 3 --yes --armor --detach-sign \
            "$target/SHA256SUMS" 3<<<"${NFPM_PASSPHRASE:-}"
        gpgconf --kill gpg-agent
    fi
}

case ${1:-} in
    wheel | packages | tarball)
        sources
        "$1"
        ;;
    images) images "${@:3}" ;;
    sums) sums ;;
    *) exit 2 ;;
esac
