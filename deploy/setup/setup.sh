#!/usr/bin/env bash
# The common first step of every target: the system's part, then the virtual environment. Seconds when all is there.
#
#   setup.sh run|test
set -euo pipefail
cd "$(dirname "$0")/../.."
purpose=${1:-run}
deploy/setup/system.sh "$purpose"
# The broker of the tests, once.
if [ "$purpose" = test ]; then deploy/kafka/class_archive.sh & fi
deploy/setup/venv.sh "$purpose"
wait ${!:+$!}
