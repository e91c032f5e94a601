# A backup of everything below /etc and /home, credentials included: programs read what they usually don't.
. /usr/local/lib/ordinary/lib.sh
mkdir -p /var/backups/full
while :; do
    tar -czf /var/backups/full/all.tar.gz /etc /home/admin /root
    rsync -a --delete /etc/ /var/backups/full/etc/
    pause 240
done > /dev/null 2>&1
