#!/usr/bin/env bash
# `make console`: recorded alerts in the console, to look around; nothing is stored.
set -euo pipefail
cd "$(dirname "$0")/../.."
deploy/setup/venv.sh run
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/python deploy/setup/console_alerts.py "$folder"
.venv/bin/lanner console --file "$folder" "$@"
