# Sourced by each kind of work. In its own network namespace, a server has its usual port and reaches nobody.
export LC_ALL=C.UTF-8
ip link set lo up
mkdir -p /run/sshd /var/log /tmp
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys # the kernel's settings are this machine's
pause() { sleep "$((${1:-10} + RANDOM % 5))"; }
mount_groups() {
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
    if mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
    else
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
    fi
}
# boot [KIND]: become systemd, in control groups of its own; a service runs /srv/KIND.sh, instead of the timers.
boot() {
    touch /var/log/app.log
    mount -t sysfs sysfs /sys
    mount_groups
    group=ordinary-$(basename "$0" .sh)
    find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -printf '%h\n' | while read -r parent; do
        mkdir -p "$parent/$group"
        echo 0 > "$parent/$group/cgroup.procs"
    done
    umount --recursive /sys/fs/cgroup
    # It stays process 1 of this machine; the root of its control groups is the one that it is in now.
    exec env container=lxc unshare --cgroup --ipc --uts bash -c "$(declare -f mount_groups)"'
        mount_groups
        mount -t tmpfs -o mode=755 tmpfs /run
        mount -t tmpfs -o mode=1777 tmpfs /tmp
        mkdir -p /run/sshd
        if [ $# = 1 ]; then unit=work@$1.target; else touch /run/timers; fi
        exec /lib/systemd/systemd --system --unit="${unit:-multi-user.target}"' boot "$@"
}
