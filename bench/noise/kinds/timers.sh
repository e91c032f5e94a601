# systemd with Debian's services, its timers and one of our own, each once a minute instead of once a day.
. /usr/local/lib/ordinary/lib.sh
often='[Timer]\nOnCalendar=\nOnBootSec=\nOnUnitActiveSec=\nOnCalendar=minutely\nRandomizedDelaySec=20\nAccuracySec=1s\n'
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all fstrim logrotate man-db systemd-tmpfiles-clean report; do
    mkdir -p /etc/systemd/system/$timer.timer.d
    printf "$often" > /etc/systemd/system/$timer.timer.d/often.conf
done
printf '[Unit]\nDescription=Report\n[Timer]\nOnCalendar=daily\n' > /etc/systemd/system/report.timer
cat > /etc/systemd/system/report.service << 'UNIT'
[Service]
Type=oneshot
User=dev
SupplementaryGroups=adm
StateDirectory=report
ExecStart=/bin/sh -c 'df > /var/lib/report/df; journalctl --lines=20 > /var/lib/report/journal; gzip --force /var/lib/report/journal'
UNIT
mkdir -p /etc/systemd/system/timers.target.wants
ln -s /etc/systemd/system/report.timer /etc/systemd/system/timers.target.wants/
: > /etc/fstab
touch /var/log/app.log
for name in Update-Package-Lists Download-Upgradeable-Packages AutocleanInterval; do
    echo "APT::Periodic::$name \"always\";"
done > /etc/apt/apt.conf.d/20periodic
systemctl mask getty.target getty-static.service console-getty.service getty@.service
mount -t sysfs sysfs /sys
mount_groups() {
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
    if mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
    else
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
    fi
}
export -f mount_groups
mount_groups
find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -printf '%h\n' | while read -r group; do
    mkdir -p "$group/ordinary-timers"
    echo 0 > "$group/ordinary-timers/cgroup.procs"
done
umount --recursive /sys/fs/cgroup
# It stays process 1 of this machine; the root of its control groups is the one that it is in now.
exec env container=lxc unshare --cgroup --ipc --uts bash -c '
    mount_groups
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs tmpfs /tmp
    exec /lib/systemd/systemd --system --unit=multi-user.target'
