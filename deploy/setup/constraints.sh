#!/usr/bin/env bash
# Write constraints.txt anew from what .venv holds: names and versions only, so that any index will do.
set -euo pipefail
cd "$(dirname "$0")/../.."
{
    echo '# The versions that the tests ran with; "make constraints" writes this file from .venv.'
    .venv/bin/python -m pip list --format freeze --exclude-editable | grep -vE '^(pip|setuptools|wheel)=='
} >constraints.txt
