#!/usr/bin/env bash
# `make run`: set up, then watch this host. If that is impossible, print the reason and the report of doctor, and replay
# the shipped recording, so that everyone sees an alert.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh

instead() {
    say "$1"
    if [ ! -x .venv/bin/lanner ]; then
        LANNER_SUDO=no deploy/setup/venv.sh run || exit 3
    fi
    .venv/bin/lanner doctor || true
    local recording
    recording=$(find rules -name '*.avro' | sort | head -n 1)
    if [ -n "$recording" ]; then
        say "replaying a recording of another machine instead: lanner replay $recording"
        exec .venv/bin/lanner replay "$recording"
    fi
    exit 3
}

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64 | Linux-aarch64) ;;
    *) instead "live detection needs Linux on x86-64 or arm64; this is $(uname -s) on $(uname -m)." ;;
esac

todo=$(deploy/setup/system.sh list | paste -sd, | sed 's/,/, /g')
may_be_root "${todo:+$todo, and }load the eBPF programs that watch this host" ||
    instead "live detection loads eBPF programs, which needs root privileges."

[ -r /sys/kernel/btf/vmlinux ] || instead "this kernel ($(uname -r)) lacks BTF (/sys/kernel/btf/vmlinux), which live detection needs."

deploy/setup/setup.sh run || instead "setting up live detection failed: see above."

# Otherwise root would leave compiled files in the checkout.
if [ "$(id -u)" -ne 0 ] || [ -n "${SUDO_USER:-}" ]; then
    as_owner .venv/bin/python -m compileall -q foundation schemas bus collector processor notifier lanner || true
    export PYTHONDONTWRITEBYTECODE=1
fi
# At a terminal, give Lanner a process group of its own: Ctrl-C then reaches it alone, and make ends with its status, 0.
# Elsewhere, such as below timeout(1), a signal to the whole group has to reach it.
if read -r group foreground < <(ps -o pgid=,tpgid= -p $$ 2>/dev/null) && [ "$group" = "$foreground" ]; then
    set -m
fi
status=0
# Lanner itself handles it, and ends with 0.
trap - INT
as_root env ${PYTHONDONTWRITEBYTECODE:+PYTHONDONTWRITEBYTECODE=1} ${NO_COLOR:+NO_COLOR=1} .venv/bin/lanner run "$@" || status=$?
[ $status -ne 3 ] || instead "live detection can't run on this host: see above."
exit $status
