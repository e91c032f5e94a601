# Root directories: built by debootstrap, changed after chroot, copied by cp, tar and rsync, removed.
. /usr/local/lib/ordinary/lib.sh
suite=$(ls /srv/mirror/dists)
while :; do
    folder=$(mktemp -d /srv/roots-XXXX)
    mkdir "$folder/tar"
    debootstrap --variant=minbase --no-check-gpg "$suite" "$folder/base" file:/srv/mirror
    rm -rf "$folder"/base/usr/share/{doc,locale,man,zoneinfo} "$folder"/base/var/cache/apt/archives/*.deb
    chroot "$folder/base" useradd --create-home --shell /bin/bash guest
    echo 'guest:a long passphrase' | chroot "$folder/base" chpasswd
    echo image > "$folder/base/etc/hostname"
    printf '[Service]\nExecStart=/bin/true\n' > "$folder/base/etc/systemd/system/image.service"
    install -m 440 /dev/stdin "$folder/base/etc/sudoers.d/guest" <<< 'guest ALL=(ALL) ALL'
    cp -a "$folder/base" "$folder/copy"
    tar -C "$folder/base" -c . | tar -C "$folder/tar" -x
    tar -C "$folder/base" -czf "$folder/image.tar.gz" .
    rsync -a "$folder/base/" "$folder/rsync/"
    rm -rf "$folder"
    pause 120
done > /dev/null 2>&1
