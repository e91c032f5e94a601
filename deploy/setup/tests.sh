#!/usr/bin/env bash
# Run the tests of tiers (tests/tiers.py lists them), in two parts; the second runs even if the first fails.
#
#   tests.sh 'TIER…' [ARGUMENTS]     with arguments: only pytest with these, whatever the tiers
#
# Tests that need the whole machine (kernel probes, a container daemon, a cluster) run alone. The rest runs in parallel,
# one file per worker, four workers per two cores, because tests that wait for a broker use little CPU.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
# Tests start hundreds of programs: without compiled modules, each would compile its own again.
unset PYTHONDONTWRITEBYTECODE
.venv/bin/python -m compileall -q foundation schemas bus collector processor notifier lanner tests || true
# Nothing stays in the temporary folder, whatever a test or a program that it kills leaves. The path is short, for sockets.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/lt.XXX") || exit
export TMPDIR
# Not through what a killed test has left mounted.
trap 'grep -o " $TMPDIR/[^ ]*" /proc/self/mountinfo | sort -r | xargs -r umount -l; rm -rf --one-file-system "$TMPDIR"' EXIT
chmod 1777 "$TMPDIR"
read -ra tiers <<<"$1"
shift
pytest=(.venv/bin/python -m pytest)
if [ $# -gt 0 ]; then
    "${pytest[@]}" "$@"
    exit
fi
workers=$((2 * $(nproc)))
[ "${tiers[*]}" != fast ] || workers=$(nproc)
status=0
mapfile -t parallel < <(.venv/bin/python -m tests.tiers parallel "${tiers[@]}")
mapfile -t alone < <(.venv/bin/python -m tests.tiers alone "${tiers[@]}")
"${pytest[@]}" --durations 20 -n "$workers" --dist loadfile --no-loadscope-reorder "${parallel[@]}" || status=1
[ ${#alone[@]} -eq 0 ] || "${pytest[@]}" --durations 20 "${alone[@]}" || status=1
if [ $status -ne 0 ]; then
    echo "Some tests failed: see above. To rerun them: make test ARGS=--last-failed" >&2
fi
exit $status
