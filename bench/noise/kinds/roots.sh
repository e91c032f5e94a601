# Root directories: unpacked, copied by cp, tar and rsync, removed.
. /usr/local/lib/ordinary/lib.sh
while :; do
    folder=$(mktemp -d /srv/roots-XXXX)
    mkdir "$folder/base" "$folder/tar"
    tar -C / -c usr/bin usr/lib/systemd etc/pam.d etc/cron.daily etc/init.d etc/skel etc/systemd etc/profile.d |
        tar -C "$folder/base" -x
    cp -a "$folder/base" "$folder/copy"
    tar -C "$folder/base" -c . | tar -C "$folder/tar" -x
    rsync -a "$folder/base/" "$folder/rsync/"
    rm -rf "$folder"
    pause 60
done
