#!/usr/bin/env bash
# Check style, types, imports, vocabulary, spelling, links and the site of the documentation, and the shell scripts. All
# checks run even if one fails, beside each other.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
status=0 running=()
check() {
    {
        if output=$("$@" 2>&1); then exit; fi
        printf '%s\n%s\n' "--- $*" "$output"
        exit 1
    } &
    running+=($!)
}
check .venv/bin/mypy
check .venv/bin/ruff check .
check .venv/bin/ruff format --check .
check .venv/bin/lint-imports
check .venv/bin/python deploy/setup/words.py
check .venv/bin/codespell .
check .venv/bin/python deploy/setup/links.py
check env NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
if command -v shellcheck >/dev/null; then
    # shellcheck disable=SC2046  # our own file names hold no blanks
    check shellcheck -x .ci/run $(find deploy -name '*.sh')
fi
for each in "${running[@]}"; do wait "$each" || status=1; done
[ $status -eq 0 ] && echo 'lint: clean'
exit $status
