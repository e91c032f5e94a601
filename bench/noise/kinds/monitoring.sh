# Agents that read /proc, /sys and logs: Prometheus' exporter, collectd, checks, sysstat, fail2ban, indexers, scripts.
. /usr/local/lib/ordinary/lib.sh
mount -t sysfs sysfs /sys
touch /var/log/auth.log
runuser -u prometheus -- prometheus-node-exporter --collector.systemd.private > /dev/null 2>&1 ||
    runuser -u prometheus -- prometheus-node-exporter > /dev/null 2>&1 &
collectd -C /etc/collectd.conf
fail2ban-server -b
rsyslogd
/usr/sbin/sshd
nginx
plugins=/usr/lib/nagios/plugins
cat > /usr/local/bin/metrics.py <<'END'
#!/usr/bin/python3
"""Prints metrics of all processes and of logs, as an agent's own scripts do."""
import os, socket, subprocess, urllib.request
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("stat", "status", "cmdline", "io", "smaps_rollup", "cgroup", "limits"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                file.read()
        except OSError:
            pass
    try:
        os.listdir(f"/proc/{pid}/fd"), os.readlink(f"/proc/{pid}/exe")
    except OSError:
        pass
for path in ("/proc/net/tcp", "/proc/net/udp", "/proc/net/dev", "/proc/diskstats", "/proc/vmstat", "/proc/sys/kernel/random/entropy_avail", "/etc/passwd", "/etc/os-release"):
    with open(path) as file:
        file.read()
for folder, _, names in os.walk("/var/log"):
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            file.seek(0, 2)
print(subprocess.run(["df", "-P"], capture_output=True, text=True).stdout, subprocess.run(["ss", "-tlnp"], capture_output=True, text=True).stdout)
print(len(urllib.request.urlopen("http://127.0.0.1:9100/metrics", timeout=5).read()))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
    statsd.sendto(b"host.metrics:1|c", ("127.0.0.1", 8125))
END
chmod 755 /usr/local/bin/metrics.py
while :; do
    curl -s http://127.0.0.1:9100/metrics
    for number in 1 2 3; do
        echo "$(date '+%b %d %H:%M:%S') example sshd[$number]: Failed password for invalid user test from 192.0.2.$number port 4022 ssh2" >> /var/log/auth.log
    done
    for check in 'disk -w 10% -c 5% -p /' 'load -w 99,99,99 -c 99,99,99' 'procs -w 900 -c 999' 'users -w 20 -c 50' 'ssh 127.0.0.1' 'tcp -H 127.0.0.1 -p 80' 'http -H 127.0.0.1' 'swap -w 1 -c 1' 'log -F /var/log/auth.log -O /tmp/auth.seek -q invalid' 'file_age -f /etc/hosts'; do
        runuser -u nobody -- $plugins/check_$check
    done
    /usr/local/bin/metrics.py
    runuser -u dev -- /usr/local/bin/metrics.py
    /usr/lib/sysstat/sa1 1 1
    sar -u 1 1
    iostat
    pidstat
    lsof -nP -i
    lsof -p 1
    ps auxwwf
    top -b -n 1
    ss -tanp
    ip -s link
    needrestart -b -r l
    updatedb
    locate bash
    find /home /srv -xdev -type f -size +10M
    grep -rl localhost /etc/nginx
    du -s /var /home
    fail2ban-client status sshd
    last -n 5
    who
    dpkg -l
    systemctl list-units
    pause 40
done > /dev/null 2>&1
