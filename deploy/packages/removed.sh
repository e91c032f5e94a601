#!/bin/sh
# After removal: `remove` or `purge` (dpkg), or how many versions are left (rpm). Data stays, unless it's purged.
set -e
case $1 in
    remove | purge | 0) find /etc/systemd/system -path '*.wants/lanner*.service' -type l -delete 2>/dev/null || : ;;
esac
if [ "$1" = purge ]; then
    for folder in lib log cache; do rm -rf "/var/$folder/lanner" "/var/$folder"/lanner-* "/var/$folder"/private/lanner-*; done
fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
