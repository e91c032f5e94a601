# cron with jobs of the system and of users, syslog, log rotation and the scripts of Debian's timers.
. /usr/local/lib/ordinary/lib.sh
rsyslogd
cron
while :; do
    for number in 1 2 3 4 5; do
        logger -t app "request $number"
        echo "request $number" >> /var/log/app.log
    done
    logrotate --force /etc/logrotate.conf
    # apt's own job sleeps for up to half an hour first.
    run-parts --regex '^(dpkg|logrotate|man-db)$' /etc/cron.daily
    pwck --read-only
    find /tmp -xdev -type f -atime +10 -delete
    journalctl --vacuum-time=1d
    fstrim --version
    runuser -u dev -- crontab -l
    pause 80
done > /dev/null 2>&1
