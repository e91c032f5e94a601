#!/usr/bin/env bash
# `make tarball`: the collector with a Python of its own, for hosts that have neither Python nor compiler.
#
#   build.sh [FOLDER]      writes FOLDER/lanner-collector-VERSION-x86_64.tar.gz (build/, if not given) and prints its name
#
# Built on Debian 12, as the needed glibc is that of the building host. Versions come from constraints.txt, times from
# the newest commit: the same commit on the same system gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh
target=${1:-build}
python=${PYTHON:-/usr/bin/python3}
[ "$(uname -m)" = x86_64 ] || { say "the collector knows x86-64 only; this is $(uname -m)."; exit 3; }
for tool in "$python" objdump; do
    command -v "$tool" >/dev/null || { say "$tool is missing: apt-get install python3-venv libpython3.11 binutils"; exit 3; }
done
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lanner-tarball
mkdir -p "$target" "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# LANNER_TARBALL_ENVIRONMENT: a virtual environment that has all of it already, as the tests' does.
environment=${LANNER_TARBALL_ENVIRONMENT:-$cache/$({ "$python" -VV; cat pyproject.toml constraints.txt; } | sha256sum | cut -c1-16)}
if [ ! -x "$environment/bin/pyinstaller" ]; then
    say "making the environment that the tarball is built from"
    rm -rf "${cache:?}"/*
    "$python" -m venv "$environment"
    "$environment/bin/pip" install --disable-pip-version-check -q -c constraints.txt '.[collector,tarball]'
    # What is packed is this checkout, not a copy of it.
    "$environment/bin/pip" uninstall --disable-pip-version-check -q -y lanner
fi

deploy/setup/objects.sh >&2
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0
"$environment/bin/pyinstaller" -y --log-level ERROR --distpath "$work/dist" --workpath "$work/build" \
    deploy/tarball/lanner.spec

root=$work/lanner
mkdir -p "$root/bin" "$root/licenses"
mv "$work/dist/lib" "$root/lib"
ln -s ../lib/lanner "$root/bin/lanner"
"$environment/bin/python" deploy/tarball/licenses.py "$root/lib/_internal" "$root/licenses"
cp LICENSE deploy/systemd/lanner-collector.service "$root"
glibc=$(find "$root/lib" -type f \( -name '*.so*' -o -name lanner \) -exec objdump -T {} + 2>/dev/null |
    grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -n 1)
sed "s/@GLIBC@/${glibc#GLIBC_}/" deploy/tarball/README.md >"$root/README.md"
# Whatever the umask here: root alone writes, all may read.
chmod -R u=rwX,go=rX "$root"

version=$("$root/bin/lanner" --version | cut -d' ' -f2)
file=$target/lanner-collector-$version-x86_64.tar.gz
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - lanner |
    gzip -n >"$work/tarball"
mv "$work/tarball" "$file"
echo "$file"
