#!/usr/bin/env bash
# Install what Lanner needs without upgrading anything: Debian packages and, unless the eBPF program is compiled already
# (`make objects`), BCC, links to kernel headers for it, and tracefs.
#
#   system.sh run|test|list     list only prints what is missing, one per line
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh

purpose=${1:-run}
release=$(uname -r)
modules=/lib/modules/$release
architecture=$(dpkg --print-architecture 2>/dev/null || echo amd64)

packages=(python3-venv)
compiles=1
if [ "$purpose" != test ] && PYTHONDONTWRITEBYTECODE=1 "${PYTHON:-/usr/bin/python3}" -m collector.bpf.build --find >/dev/null 2>&1; then
    compiles=''
else
    packages+=(python3-bpfcc)
    [ -e "$modules/build" ] || packages+=("linux-headers-$architecture")
fi
if [ "$purpose" = test ]; then
    packages+=(bpftool busybox-static chromium-headless-shell debootstrap docker.io docker-compose gcc gcc-multilib iptables kmod nftables podman rpm shellcheck systemd)
    # Helm, a test tool, is a Go module. Debian's Go is too old to compile it, but knows where to get a newer one.
    command -v go >/dev/null || [ -x /usr/local/go/bin/go ] || packages+=(golang-go)
    packages+=(openjdk-17-jre-headless maven kcat)
    # Fetches an OpenID provider for tests, which the browser's driver runs.
    command -v npm >/dev/null || packages+=(npm)
    # Receivers of alerts; syslog-ng itself, which apt would put in the place of rsyslog, is unpacked by its test.
    packages+=(rsyslog rsyslog-openssl openssl libivykis0 libnet1 libpcre3 libwrap0)
fi

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# newest KIND: the newest installed Debian header tree, of an architecture or of kind common.
newest() { find /usr/src -maxdepth 1 -name "linux-headers-[0-9]*-$1" 2>/dev/null | sort -V | tail -n 1; }

mounted_tracefs() { grep -q ' tracefs ' /proc/mounts; }

missing=()
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    for package in "${packages[@]}"; do
        installed "$package" || missing+=("$package")
    done
else
    say "this is not a Debian system: install what Debian calls ${packages[*]} with its package manager."
fi
links=()
if [ -n "$compiles" ]; then
    [ -e "$modules/build" ] || links+=(build)
    [ -e "$modules/source" ] || [ -e "$modules/build/include/linux/types.h" ] || links+=(source)
fi

todo=()
[ ${#missing[@]} -eq 0 ] || todo+=("install ${missing[*]}")
[ ${#links[@]} -eq 0 ] || todo+=("link kernel headers into $modules")
[ -z "$compiles" ] || mounted_tracefs || todo+=("mount tracefs")

if [ "$purpose" = list ]; then
    [ ${#todo[@]} -eq 0 ] || printf '%s\n' "${todo[@]}"
    exit 0
fi
[ ${#todo[@]} -eq 0 ] && exit 0

reason=$(printf '%s, ' "${todo[@]}")
if ! may_be_root "${reason%, }"; then
    say "setup needs root privileges to ${reason%, }."
    exit 3
fi

if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    install=(env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-upgrade --no-install-recommends "${missing[@]}")
    # Package lists may exist, though outdated: try without a download first.
    if ! as_root "${install[@]}" >"$log" 2>&1; then
        as_root apt-get update -qq >>"$log" 2>&1 || true
        if ! as_root "${install[@]}" >>"$log" 2>&1; then
            tail -n 15 "$log" >&2
            say "apt-get could not install ${missing[*]}: see above."
            exit 3
        fi
    fi
fi

[ -n "$compiles" ] || exit 0
if [ ! -e "$modules/build" ]; then
    tree=$(newest "$architecture")
    if [ -n "$tree" ]; then
        as_root mkdir -p "$modules"
        as_root ln -sfn "$tree" "$modules/build"
    else
        say "no kernel headers found in /usr/src: install linux-headers-$architecture."
        exit 3
    fi
fi
if [ ! -e "$modules/source" ] && [ ! -e "$modules/build/include/linux/types.h" ]; then
    tree=$(newest common)
    [ -z "$tree" ] || as_root ln -sfn "$tree" "$modules/source"
fi

mounted_tracefs || as_root mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null ||
    say "tracefs could not be mounted at /sys/kernel/tracing; continuing without it."
