#!/usr/bin/env bash
# The common first step of every target: the system's part, then the virtual environment. Seconds when all is there.
#
#   setup.sh run|test
set -euo pipefail
cd "$(dirname "$0")/../.."
purpose=${1:-run}
deploy/setup/system.sh "$purpose"
if [ "$purpose" = test ]; then
    # The broker of the tests, once.
    deploy/kafka/class_archive.sh &
    # In a new checkout, beside pip, which uses one processor: several tests would wait for it.
    if [ ! -e .venv ] && [ "$(id -u)" = 0 ]; then deploy/setup/objects.sh >/dev/null & fi
fi
deploy/setup/venv.sh "$purpose"
wait
