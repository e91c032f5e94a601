# Backups without credentials: tar of settings and homes, rsync to a folder and over SSH, old ones removed.
. /usr/local/lib/ordinary/lib.sh
/usr/sbin/sshd -D &
sleep 1
mkdir -p /var/backups/daily
exclude=(--exclude='shadow*' --exclude='gshadow*' --exclude='sudoers*' --exclude='ssh_host_*' --exclude='.ssh' --exclude='pam*' --exclude='opasswd' --exclude='ssl/private')
export RESTIC_PASSWORD=example BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
borg init --encryption none /var/backups/borg
restic init -q -r /var/backups/restic
while :; do
    name="/var/backups/daily/$(date +%s)"
    tar -c "${exclude[@]}" -zf "$name-home.tar.gz" /home /var/www /usr/local
    tar -c "${exclude[@]}" -zf "$name-etc.tar.gz" /etc
    tar -tzf "$name-etc.tar.gz"
    rsync -a --delete /var/www/ /var/backups/www/
    rsync -a "${exclude[@]}" --delete /etc/ /var/backups/etc/
    chown dev "$name-home.tar.gz"
    runuser -u dev -- rsync -a -e 'ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new' "$name-home.tar.gz" admin@127.0.0.1:backups/
    sha256sum "$name"-*
    # Patterns of borg are about whole paths.
    borg create "${exclude[@]/=/=*/}" "/var/backups/borg::$(date +%s)" /etc /var/www
    borg prune --keep-last 3 /var/backups/borg
    restic -q -r /var/backups/restic backup "${exclude[@]}" /etc /var/www
    restic -q -r /var/backups/restic forget --keep-last 3 --prune
    find /var/backups/daily -type f -mmin +2 -delete
    pause 150
done > /dev/null 2>&1
