#!/bin/bash
# The first and only program of a guest whose files are in memory: Lanner's checks of the host, one call of each type,
# and the demo. All output goes to the console.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANNER_LOG=off
export PYTHONPATH=/opt/lanner/site:/opt/lanner PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /tmp /run /root /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -sf bash /bin/sh
chmod 1777 /tmp
exec >"/dev/$(cat /sys/class/tty/console/active)" 2>&1
ip link set lo up
cd /opt/lanner || exit

echo "--- doctor"
python3 -m lanner doctor
echo "--- alerts"
python3 -m tests.guest.calls --rule >/tmp/calls.yaml
python3 -m lanner run -o json_output=true -o repeated_alerts.enabled=false -r /tmp/calls.yaml >/tmp/alerts 2>/tmp/messages &
lanner=$!
until grep -q watching /tmp/messages || ! kill -0 $lanner; do sleep 0.2; done
python3 -m tests.guest.calls
/busybox32 cat /etc/shadow
sleep 2
kill -INT $lanner
wait $lanner
cat /tmp/alerts
echo "--- messages"
cat /tmp/messages
echo "--- demo"
# Emulated, an alert may take longer than the demo usually waits.
python3 -m lanner demo --patience 20
echo "--- exit code $?"
sync
echo o >/proc/sysrq-trigger
sleep 10
