#!/usr/bin/env bash
# `make objects`: compile the eBPF program into collector/bpf/objects, unless it's there. Tarball, packages, wheel and
# images carry what that folder has, and a checkout with it needs neither BCC nor kernel headers.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh
find=("${PYTHON:-/usr/bin/python3}" -m collector.bpf.build)
export PYTHONDONTWRITEBYTECODE=1
if "${find[@]}" --find 2>/dev/null; then exit 0; fi
deploy/setup/system.sh run
may_be_root 'compile the eBPF program' || { say 'compiling the eBPF program needs root privileges.'; exit 3; }
as_root env PYTHONDONTWRITEBYTECODE=1 "${find[@]}"
as_root chown -R --reference=collector/bpf collector/bpf/objects
