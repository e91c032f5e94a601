# Podman and Buildah: images built, containers run, entered, copied to, committed and removed.
. /usr/local/lib/ordinary/lib.sh
mount -t sysfs sysfs /sys
mount_groups
umount /sys/fs/cgroup/unified && rmdir /sys/fs/cgroup/unified # crun wants the first version alone
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm 2> /dev/null || { mkdir -p /dev/shm; mount -t tmpfs -o mode=1777 tmpfs /dev/shm; }
mkdir -p /etc/containers
printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' > /etc/containers/storage.conf
printf '[containers]\ncgroups = "disabled"\nnetns = "host"\n[engine]\nruntime = "crun"\nevents_logger = "file"\ncgroup_manager = "cgroupfs"\n' > /etc/containers/containers.conf
mkdir -p /srv/podman/context
cd /srv/podman || exit
programs=$(command -v bash dash cat chmod cp find id ls mkdir sed sleep useradd)
{ echo "$programs"; ldd $programs | grep -o '/[^ :]*'; printf '/etc/%s\n' passwd group debian_version; echo /bin/sh; } | sort -u |
    tar -hcf base.tar --absolute-names --transform 's,^/,,' --files-from -
podman import base.tar localhost/base
printf 'FROM localhost/base\nRUN mkdir -p /srv/app && echo built > /srv/app/built\nCOPY app.sh /srv/app/app.sh\nRUN chmod 755 /srv/app/app.sh\nCMD ["/usr/bin/sleep", "600"]\n' > context/Containerfile
for ((release = 1; ; release++)); do
    printf '#!/bin/sh\necho release %s; cat /etc/debian_version; ls /srv/app\n' "$release" > context/app.sh
    buildah bud --isolation chroot -t "localhost/app:$release" context
    podman run -d --name app "localhost/app:$release"
    podman exec app /bin/sh -c 'id; ls /srv/app'
    podman exec app /srv/app/app.sh
    podman cp app:/srv/app/built /srv/podman/built
    podman cp /srv/podman/built app:/tmp/built
    podman logs app
    podman ps -a
    podman inspect app
    podman run --rm "localhost/app:$release" /bin/sh -c 'find /srv'
    podman commit app localhost/committed
    podman save -o image.tar localhost/committed
    podman rm -f app
    container=$(buildah from localhost/base)
    buildah run --isolation chroot "$container" -- /bin/sh -c 'echo hello > /hello'
    buildah copy "$container" context /srv/context
    mounted=$(buildah mount "$container")
    mkdir -p "$mounted/root" && cp -a /etc/skel/. "$mounted/root/"
    buildah umount "$container"
    buildah commit "$container" localhost/made
    buildah rm "$container"
    podman rmi -f localhost/made localhost/committed "localhost/app:$release"
    rm -f image.tar
    pause 30
done > /dev/null 2>&1
