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
    tests/live/ | tests/e2e/ | tests/deploy/) alone+=("$folder") ;;
    *) parallel+=("$folder") ;;
    esac
done
# What fails is run once more, with the machine to itself: three workers crowd two cores, and a broker that answers late
# is no fault of what is tested. Both outcomes are printed, so that what needs two tries is seen.
part() {
    "${pytest[@]}" "$@" && return
    [ $? -eq 1 ] || return 1
    echo "Some tests failed: running those again, one after the other." >&2
    local paths=() word
    for word in "$@"; do [ -e "$word" ] && paths+=("$word"); done
    "${pytest[@]}" --last-failed --last-failed-no-failures none --maxfail 10 "${paths[@]}"
}
status=0
part -n $(($(nproc) + 1)) --dist loadfile --no-loadscope-reorder "${parallel[@]}" || status=1
part "${alone[@]}" || status=1
if [ $status -ne 0 ]; then
    echo "Some tests failed twice; each part has told which. To run those again: make test ARGS=--last-failed" >&2
fi
exit $status
