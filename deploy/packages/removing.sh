#!/bin/sh
# Before removal: `remove` (dpkg), or how many versions will be left (rpm); an upgrade restarts the units later.
set -e
case $1 in remove | 0) ;; *) exit 0 ;; esac
if [ -d /run/systemd/system ]; then systemctl stop 'lanner*.service' || :; fi
