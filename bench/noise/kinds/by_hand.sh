# What people do on a host by hand, and rules report by intention, mostly as a notice.
. /usr/local/lib/ordinary/lib.sh
mkdir -p /srv/site
cat > /srv/site/install.sh <<'END'
#!/bin/sh
# As rustup, nvm and uv do: a program in a hidden folder of the home, and a line in the shell's profile.
set -e
folder=$(mktemp -d)
curl -sSfo "$folder/tool.tar.gz" http://127.0.0.1:8000/tool.tar.gz
curl -sSfo "$folder/tool.tar.gz.sha256" http://127.0.0.1:8000/tool.tar.gz.sha256
(cd "$folder" && sha256sum -c --status tool.tar.gz.sha256)
mkdir -p "$HOME/.tool/bin"
tar -xzf "$folder/tool.tar.gz" -C "$HOME/.tool/bin"
chmod +x "$HOME/.tool/bin/tool"
echo "export PATH=\"$HOME/.tool/bin:\$PATH\"" > "$HOME/.tool/env"
for profile in .profile .bashrc .zshenv; do
    grep -qs tool/env "$HOME/$profile" || printf '\n. "$HOME/.tool/env"\n' >> "$HOME/$profile"
done
"$HOME/.tool/bin/tool" --version
rm -rf "$folder"
END
printf '#!/bin/sh\necho 1.0\n' > /srv/site/tool
chmod +x /srv/site/tool
tar -C /srv/site -czf /srv/site/tool.tar.gz tool
(cd /srv/site && sha256sum tool.tar.gz > tool.tar.gz.sha256)
(cd /srv/site && exec python3 -m http.server 8000) > /dev/null 2>&1 &
cat > /srv/by_hand.sh <<'END'
export LC_ALL=C.UTF-8 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
while :; do
    runuser -u dev -- sh -c 'export HOME=/home/dev; curl -sSf http://127.0.0.1:8000/install.sh | sh'
    runuser -u dev -- sh -c 'export HOME=/home/dev; curl -sSfo /tmp/install.sh http://127.0.0.1:8000/install.sh; sh /tmp/install.sh; rm -f /tmp/install.sh'
    runuser -u dev -- sh -c 'echo true | at now; (crontab -l; echo "1 2 * * * true") | crontab -; crontab -r'
    find / -xdev -perm -4000 -type f
    useradd --create-home --shell /bin/bash guest
    echo 'guest:a long passphrase' | chpasswd
    usermod --append --groups users guest
    echo 'guest ALL=(ALL) ALL' > /etc/sudoers.d/guest
    rm -f /etc/sudoers.d/guest
    userdel --remove guest
    printf '[Service]\nExecStart=/bin/sleep 100\n' > /etc/systemd/system/hand.service
    systemctl daemon-reload
    systemctl start hand
    systemctl stop hand
    rm -f /etc/systemd/system/hand.service
    systemctl mask redis-server
    systemctl unmask redis-server
    printf '[sshd]\nenabled = true\n' > /etc/fail2ban/jail.d/hand.conf
    rm -f /etc/fail2ban/jail.d/hand.conf
    iptables -A INPUT -p tcp --dport 22 -j ACCEPT
    iptables -F
    ufw status
    journalctl --vacuum-time=30d
    puppet apply -e 'cron { "hand": command => "/usr/bin/true", user => "root", minute => 9 }'
    puppet apply -e 'cron { "hand": ensure => absent, user => "root" }'
    touch /srv/file && touch -d 2025-09-01 /srv/file
    sleep 60
done > /dev/null 2>&1
END
boot by_hand
