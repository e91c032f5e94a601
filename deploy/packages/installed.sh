#!/bin/sh
# After installation: `configure` and the former version, if any (dpkg), or how many versions are installed (rpm).
set -e
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
# Without waiting: a unit is ready when it has reached its broker.
case "$1:$2" in configure:?* | 2:*) systemctl --no-block try-restart 'lanner*.service' || : ;; esac
