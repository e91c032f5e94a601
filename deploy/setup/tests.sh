#!/usr/bin/env bash
# Run all tests, in two parts; the second runs even if the first fails. With arguments: only pytest with these.
#
# Tests that need the whole machine (kernel probes, a container daemon, a cluster) run alone. The rest runs in parallel,
# one file per worker, four workers per two cores, because tests that wait for a broker use little CPU.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
# Tests start hundreds of programs: without compiled modules, each would compile its own again.
unset PYTHONDONTWRITEBYTECODE
.venv/bin/python -m compileall -q foundation schemas bus collector processor notifier lanner tests || true
pytest=(.venv/bin/python -m pytest)
if [ $# -gt 0 ]; then exec "${pytest[@]}" "$@"; fi
# Long tests first, so that none runs alone at the end. Tests of sinks don't use the kernel, and those of installed
# collectors look at their own acts only.
parallel=(tests/cluster tests/deploy tests/live/notifier)
alone=(--ignore=tests/live/notifier)
for folder in tests/*/; do
    case $folder in
    tests/cluster/ | tests/deploy/ | tests/__pycache__/) ;;
    tests/adversary/)
        parallel+=(tests/adversary/fleet)
        alone+=(tests/adversary/host)
        ;;
    tests/live/ | tests/e2e/) alone+=("$folder") ;;
    *) parallel+=("$folder") ;;
    esac
done
status=0
"${pytest[@]}" --durations 20 -n $((2 * $(nproc))) --dist loadfile --no-loadscope-reorder "${parallel[@]}" || status=1
"${pytest[@]}" --durations 20 "${alone[@]}" || status=1
if [ $status -ne 0 ]; then
    echo "Some tests failed: see above. To rerun them: make test ARGS=--last-failed" >&2
fi
exit $status
