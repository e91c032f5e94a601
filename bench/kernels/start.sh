#!/bin/sh
# Runs in a guest as its first process: Lanner is checked, what it prints goes to the second disk.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANNER_LOG=off
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
busybox ip link set lo up
cd /opt/lanner || exit
python=.venv/bin/python
[ -e "$python" ] || python=python3
PYTHONPATH=/opt/lanner/site:/opt/lanner "$python" -m bench.kernels.check "$@" >/tmp/results 2>/dev/console
cat /tmp/results >/dev/vdb
sync
busybox poweroff -f
