#!/usr/bin/env bash
# Rewrite constraints.txt from the packages in .venv: only names and versions, so that any package index works.
set -euo pipefail
cd "$(dirname "$0")/../.."
{
    echo '# The versions that the tests ran with; "make constraints" writes this file from .venv.'
    .venv/bin/python -m pip list --format freeze --exclude-editable | grep -vE '^(setuptools|wheel)=='
} >constraints.txt
