#!/usr/bin/env bash
# `make wheel`: Lanner as a wheel, with the rules and the compiled eBPF program.
#
#   build.sh wheel [FOLDER]      writes FOLDER/lanner-VERSION-py3-none-any.whl (build/, if not given) and prints its name
#
# Times come from the newest commit: the same commit on the same system gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh
SETUPTOOLS=80.9.0
target=$(realpath -m "${2:-build}")
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0
mkdir -p "$target"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A copy of what the repository has: nothing of former builds, and readable by all, whatever the umask here.
copy=$work/lanner
mkdir "$copy"
git ls-files -z | tar --null -cf - -T - | tar -C "$copy" -xf -
deploy/setup/objects.sh >&2
cp -r collector/bpf/objects "$copy/collector/bpf"
chmod -R u=rwX,go=rX "$copy"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

wheel() {
    echo "setuptools==$SETUPTOOLS" >"$work/constraints"
    PIP_CONSTRAINT=$work/constraints .venv/bin/python -m pip wheel --disable-pip-version-check -q --no-deps \
        --wheel-dir "$work" "$copy"
    mv "$work"/lanner-*.whl "$target"
    echo "$target/lanner-$version-py3-none-any.whl"
}

case ${1:-} in
    wheel) wheel ;;
    *) exit 2 ;;
esac
