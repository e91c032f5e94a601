#!/usr/bin/env bash
# Run the tests of tiers (tests/tiers.py lists them), in four parts; each runs even if one before it fails.
#
#   tests.sh '[lint] TIER…' [ARGUMENTS]     with arguments: only pytest with these, whatever the tiers
#
# lint.sh runs in the time that the tests leave, and its output comes at the end.
#
# Five workers per two cores, one file per worker, because tests that wait for a broker use little CPU. Tests that watch
# the kernel have three, and those that flood the machine, or take all its events for their own, run alone. Both leave a
# third of the processor time to tests that only compute, which give way to the others. The tier "fast" has neither, so
# that its two parts run beside each other.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
# Tests start hundreds of programs: without compiled modules, each would compile its own again.
unset PYTHONDONTWRITEBYTECODE
.venv/bin/python -m compileall -q -j 0 foundation schemas bus collector processor notifier lanner tests || true
.venv/bin/python -m tests.assertions || true
# Nothing stays in the temporary folder, whatever a test or a program that it kills leaves. The path is short, for sockets.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/lt.XXX") || exit
export TMPDIR
# Not through what a killed test has left mounted.
trap 'jobs -p | xargs -r kill 2>/dev/null; grep -o " $TMPDIR/[^ ]*" /proc/self/mountinfo | sort -r | xargs -r umount -l; rm -rf --one-file-system "$TMPDIR"' EXIT
chmod 1777 "$TMPDIR"
read -ra tiers <<<"$1"
shift
pytest=(.venv/bin/python -m pytest)
if [ $# -gt 0 ]; then
    "${pytest[@]}" "$@"
    exit
fi
lint=
if [ "${tiers[0]}" = lint ]; then
    tiers=("${tiers[@]:1}")
    nice -n 19 deploy/setup/lint.sh >"$TMPDIR/lint" 2>&1 &
    lint=$!
fi
cores=$(nproc)
declare -A workers=([parallel]=$((2 * cores + 1)) [computing]=$cores [live]=$((3 * cores / 2)) [alone]=0)
status=0
run() {
    mapfile -t files < <(.venv/bin/python -m tests.tiers "$1" "${tiers[@]}")
    [ ${#files[@]} -eq 0 ] ||
        "${@:2}" "${pytest[@]}" --durations 20 -n "${workers[$1]}" --dist loadfile --no-loadscope-reorder "${files[@]}"
}
start_computing() {
    run computing exec nice -n 10 >"$TMPDIR/computing" 2>&1 &
    computing=$!
}
[ "${tiers[*]}" != fast ] || { workers[parallel]=$cores && start_computing; }
run parallel || status=1
[ "${tiers[*]}" = fast ] || start_computing
run live || status=1
run alone || status=1
wait "$computing" || status=1
cat "$TMPDIR/computing"
if [ $status -ne 0 ]; then
    echo "Some tests failed: see above. To rerun them: make test ARGS=--last-failed" >&2
fi
if [ -n "$lint" ] && ! wait "$lint"; then
    status=1
    echo "Some checks failed: see below. To rerun them: make lint" >&2
fi
[ -z "$lint" ] || cat "$TMPDIR/lint"
exit $status
