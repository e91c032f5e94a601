#!/usr/bin/env bash
# All tests, in two parts; the second is run whatever the first one says. With arguments: pytest with these, no more.
#
# What looks at the whole machine (probes in the kernel, a daemon of containers, a cluster of them) has it to itself.
# The rest goes in parallel, a file on one worker, three workers to two cores: those that wait for a broker do little.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
pytest=(.venv/bin/python -m pytest)
if [ $# -gt 0 ]; then exec "${pytest[@]}" "$@"; fi
# The long ones first, so that no worker is left with one at the end. Sinks ask nothing of the kernel.
parallel=(tests/cluster tests/live/notifier)
alone=(--ignore=tests/live/notifier)
for folder in tests/*/; do
    case $folder in
    tests/cluster/) ;;
    tests/adversary/)
        parallel+=(tests/adversary/fleet)
        alone+=(tests/adversary/host)
        ;;
    tests/live/ | tests/e2e/ | tests/deploy/) alone+=("$folder") ;;
    *) parallel+=("$folder") ;;
    esac
done
status=0
"${pytest[@]}" -n $(($(nproc) + 1)) --dist loadfile --no-loadscope-reorder "${parallel[@]}" || status=1
"${pytest[@]}" "${alone[@]}" || status=1
if [ $status -ne 0 ]; then
    echo "Some tests failed; each part has said which. To run those again: make test ARGS=--last-failed" >&2
fi
exit $status
