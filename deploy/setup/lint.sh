#!/usr/bin/env bash
# Check style, types, imports, vocabulary, spelling, links and the site of the documentation, and the shell scripts. All
# checks run even if one fails.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
status=0
check() {
    local output
    if output=$("$@" 2>&1); then return; fi
    printf '%s\n%s\n' "--- $*" "$output"
    status=1
}
check .venv/bin/ruff check .
check .venv/bin/ruff format --check .
check .venv/bin/mypy
check .venv/bin/lint-imports
check .venv/bin/python deploy/setup/words.py
check .venv/bin/codespell .
check .venv/bin/python deploy/setup/links.py
check env NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
if command -v shellcheck >/dev/null; then
    # shellcheck disable=SC2046  # our own file names hold no blanks
    check shellcheck -x .ci/run $(find deploy -name '*.sh')
fi
[ $status -eq 0 ] && echo 'lint: clean'
exit $status
