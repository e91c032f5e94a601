#!/usr/bin/env bash
# `make wheel` and `make packages`: Lanner with the rules and the compiled eBPF program.
#
#   build.sh wheel [FOLDER]        writes FOLDER/lanner-VERSION-py3-none-any.whl (build/, if not given) and prints its name
#   build.sh packages [FOLDER]     writes that, a .deb, a .rpm, a CycloneDX SBOM for each, and SHA256SUMS
#   build.sh sums [FOLDER]         writes SHA256SUMS again, of all artifacts in it
#
# LANNER_SIGNING_KEY: a file with an OpenPGP private key that signs the packages and SHA256SUMS; NFPM_PASSPHRASE: its
# passphrase, if it has one. Times come from the newest commit, and versions from constraints.txt and from here: without
# a key, the same commit on the same system gives the same bytes.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh
SETUPTOOLS=80.9.0 CYCLONEDX=7.5.0 NFPM=2.45.1
PYTHON=${PYTHON:-/usr/bin/python3}
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
    PIP_CONSTRAINT=$work/constraints .venv/bin/python -m pip wheel --disable-pip-version-check -q --no-deps \
        --wheel-dir "$work" "$copy"
    mv "$work"/lanner-*.whl "$target"
    echo "$target/lanner-$version-py3-none-any.whl"
}

# environment NAME REQUIREMENT...: a virtual environment with them, but without Lanner and pip; cached.
environment() {
    local name=$1 folder
    shift
    folder=$cache/$name-$({ "$PYTHON" -VV; cat pyproject.toml constraints.txt; echo "$@"; } | sha256sum | cut -c1-16)
    if [ ! -f "$folder/complete" ]; then
        say "making the environment of the packages' $name"
        rm -rf "$cache/$name"-*
        "$PYTHON" -m venv --without-pip "$folder"
        pip=(.venv/bin/python -m pip --disable-pip-version-check --python "$folder/bin/python")
        "${pip[@]}" install -q -c constraints.txt "$@" >&2
        "${pip[@]}" uninstall -q -y lanner >&2
        touch "$folder/complete"
    fi
    echo "$folder"
}

# sbom FILE [LIBRARIES]: write FILE.cdx.json, about the Python packages and Debian's packages that LIBRARIES are from.
sbom() {
    "$tools/bin/cyclonedx-py" environment --output-reproducible --pyproject "$copy/pyproject.toml" --mc-type application \
        -o "$work/sbom" "$needs/bin/python" 2>/dev/null
    "$needs/bin/python" deploy/packages/sbom.py "$work/sbom" "${@:2}" >"$1.cdx.json"
}

# What both packages hold, in $work/package/root.
contents() {
    local root=$work/package/root lib glibc shell
    LANNER_STAGES=all PYTHONPATH=$(echo "$needs"/lib/python3*/site-packages) "$tools/bin/pyinstaller" -y --log-level ERROR \
        --distpath "$work/dist" --workpath "$work/build" "$copy/deploy/tarball/lanner.spec"
    lib=$work/dist/lib
    install -d "$root"/usr/{bin,lib/systemd/system,share/{bash-completion/completions,fish/vendor_completions.d,man/man1}} \
        "$root"/usr/share/doc/lanner/{examples,licenses}
    glibc=$(find "$lib" -type f \( -name '*.so*' -o -name lanner \) -exec objdump -T {} + 2>/dev/null |
        grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -n 1)
    export LANNER_GLIBC=${glibc#GLIBC_} LANNER_VERSION=$version
    "$needs/bin/python" deploy/tarball/licenses.py "$lib/_internal" "$root/usr/share/doc/lanner/licenses"
    # That of PyInstaller is about the loader, which is packed.
    install -D -m 0644 "$tools"/lib/python3*/site-packages/pyinstaller-*.dist-info/licenses/COPYING.txt \
        "$root/usr/share/doc/lanner/licenses/pyinstaller/COPYING.txt"
    cp LICENSE "$root/usr/share/doc/lanner/copyright"
    cp deploy/systemd/*.conf "$root/usr/share/doc/lanner/examples"
    for unit in deploy/systemd/*.service; do
        sed -e 's#/usr/local/bin/lanner#/usr/bin/lanner#; s#^Documentation=.*#Documentation=man:lanner(1)#' \
            "$unit" >"$root/usr/lib/systemd/system/${unit##*/}"
    done
    sbom "$work/package/all" "$lib/_internal"
    cp "$work/package/all.cdx.json" "$root/usr/share/doc/lanner/sbom.cdx.json"
    (cd "$copy" && PYTHONPATH=$copy "$needs/bin/python" deploy/packages/man.py) | gzip -9n >"$root/usr/share/man/man1/lanner.1.gz"
    for shell in bash zsh fish; do "$lib/lanner" completion "$shell" >"$work/package/completion.$shell"; done
    mv "$work/package/completion.bash" "$root/usr/share/bash-completion/completions/lanner"
    mv "$work/package/completion.fish" "$root/usr/share/fish/vendor_completions.d/lanner.fish"
    cp "$copy"/deploy/packages/{lanner.yaml,installed.sh,removing.sh,removed.sh} "$work/package"
    mv "$lib" "$root/usr/lib/lanner"
    ln -s ../lib/lanner/lanner "$root/usr/bin/lanner"
    chmod -R u=rwX,go=rX "$work/package"
}

packages() {
    needs=$(environment libraries '.[all]')
    tools=$(environment tools '.[tarball]' "cyclonedx-bom==$CYCLONEDX")
    # The name of the module has nfpm's major version.
    [ -x "$cache/nfpm-$NFPM/nfpm" ] || GOBIN=$cache/nfpm-$NFPM go install "github.com/goreleaser/nfpm/v2/cmd/nfpm@v$NFPM"
    contents
    case $(uname -m) in x86_64) LANNER_ARCHITECTURE=amd64 ;; aarch64) LANNER_ARCHITECTURE=arm64 ;; *) exit 3 ;; esac
    export LANNER_ARCHITECTURE LANNER_SIGNING_KEY=${LANNER_SIGNING_KEY:+$(realpath "$LANNER_SIGNING_KEY")}
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
    wheel)
        sources
        wheel
        ;;
    sums) sums ;;
    packages)
        sources
        packages
        ;;
    *) exit 2 ;;
esac
