#!/usr/bin/env bash
# Create the virtual environment in .venv; recreate it only when its requirements have changed.
#
#   venv.sh run|test
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh

purpose=${1:-run}
python=${PYTHON:-/usr/bin/python3}
requirement='.[all]'
[ "$purpose" = test ] && requirement='.[dev,all]'
stamp=.venv/.made-of

if ! command -v "$python" >/dev/null; then
    say "$python not found: install Python 3.11 to 3.13, or set PYTHON=/path."
    exit 3
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then
    say "$python is $("$python" -V 2>&1): Lanner needs 3.11 to 3.13. Set PYTHON=/path to another one."
    exit 3
fi

made_of=$({
    "$python" -c 'import sys; print(sys.executable, sys.version)'
    pwd
    cat pyproject.toml constraints.txt deploy/setup/venv.sh
} | sha256sum | cut -d' ' -f1)
# An environment for the tests is enough to run.
if [ -x .venv/bin/lanner ] && grep -qsxE "(test|$purpose) $made_of" "$stamp"; then exit 0; fi

say "creating the virtual environment in .venv"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
chmod 644 "$log"
interpreter_of() { "$1" -c 'import sys; print(sys.base_prefix, *sys.version_info[:3])' 2>/dev/null; }
if [ "$(interpreter_of .venv/bin/python || true)" != "$(interpreter_of "$python")" ]; then
    rm -rf .venv
    if ! as_owner "$python" -m venv .venv >"$log" 2>&1; then
        cat "$log" >&2
        say "$python could not create a virtual environment: on Debian, install python3-venv."
        exit 3
    fi
fi
pip=(.venv/bin/python -m pip install --disable-pip-version-check -q --no-compile -c constraints.txt)
# Debian's own pip takes twice the processor time for what follows; where a folder of packages has no other, it does.
as_owner "${pip[@]}" pip >"$log" 2>&1 || true
if ! as_owner "${pip[@]}" -e "$requirement" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "pip could not install what Lanner needs: see above."
    exit 3
fi
# By all processors; pip uses one. Some packages contain files that are no valid Python.
as_owner .venv/bin/python -m compileall -q -j 0 .venv/lib >"$log" 2>&1 || true
as_owner sh -c "echo '$purpose $made_of' >$stamp"
