# Root directories: copied by cp, tar and rsync, built by debootstrap, changed after chroot, removed.
. /usr/local/lib/ordinary/lib.sh
suite=$(ls /srv/mirror/dists)
while :; do
    folder=$(mktemp -d /srv/roots-XXXX)
    mkdir "$folder/old" "$folder/tar"
    tar -C / -c bin sbin lib64 usr/bin usr/lib/systemd etc/{pam.d,cron.d,cron.daily,init.d,skel,systemd,profile.d,udev,logrotate.d,ld.so.conf.d} |
        tar -C "$folder/old" -x
    mkdir "$folder/old/root"
    cp -a /etc/skel/. "$folder/old/root/"
    install -m 640 /dev/stdin "$folder/old/etc/shadow" <<< 'root:*:19000:0:99999:7:::'
    cp -a "$folder/old" "$folder/copy"
    tar -C "$folder/old" -c . | tar -C "$folder/tar" -x
    tar -C "$folder/old" -czf "$folder/image.tar.gz" .
    rsync -a "$folder/old/" "$folder/rsync/"
    debootstrap --variant=minbase --no-check-gpg "$suite" "$folder/new" file:/srv/mirror
    rm -rf "$folder"/new/usr/share/{doc,locale,man,zoneinfo} "$folder"/new/var/cache/apt/archives/*.deb
    chroot "$folder/new" useradd --create-home --shell /bin/bash guest
    echo 'guest:a long passphrase' | chroot "$folder/new" chpasswd
    echo image > "$folder/new/etc/hostname"
    printf '[Service]\nExecStart=/bin/true\n' > "$folder/new/etc/systemd/system/image.service"
    install -m 440 /dev/stdin "$folder/new/etc/sudoers.d/guest" <<< 'guest ALL=(ALL) ALL'
    cp -a "$folder/new" "$folder/final"
    rm -rf "$folder"
    pause 60
done > /dev/null 2>&1
