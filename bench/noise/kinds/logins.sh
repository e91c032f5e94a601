# People who log in by SSH, look around, use sudo and su.
. /usr/local/lib/ordinary/lib.sh
/usr/sbin/sshd -D &
sleep 1
login() { runuser -u dev -- ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new admin@127.0.0.1 "$@"; }
while :; do
    login 'id; uptime; df -h; w; ls -la; ps aux' > /dev/null
    login -tt 'bash -lc "ls -la /var/log; tail -n 5 /var/log/dpkg.log; sudo -n id; sudo -n tail -n 2 /var/log/auth.log; exit"' > /dev/null 2>&1
    echo ls | runuser -u dev -- sftp -q -b - admin@127.0.0.1 > /dev/null
    runuser -u dev -- scp -q /etc/hostname admin@127.0.0.1:hosts.copy
    su - admin -c 'crontab -l; git --version' > /dev/null 2>&1
    chage --list admin > /dev/null
    passwd --status admin > /dev/null
    pause 70
done
