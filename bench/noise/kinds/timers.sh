# systemd with Debian's services, its timers and one of our own, each once a minute: ../etc/systemd.
. /usr/local/lib/ordinary/lib.sh
touch /var/log/app.log
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
