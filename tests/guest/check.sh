#!/bin/bash
# Runs in the guest, at the end of its start: Lanner, and the same command in containers of each kind. Results go to the
# second serial port.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANNER_LOG=off
exec >/root/log 2>&1
set -x

finish() {
    { cat /root/alerts; echo "--- log"; cat /root/log; } >/dev/ttyS1
    sync
    systemctl poweroff --force
}
trap finish EXIT

ask() { # NAME COMMAND...: `cat FILE` is asked for in a container, under the file's name
    local file=/etc/asked-$1
    shift
    "$@" cat "$file" || true
}

mount | grep cgroup
podman import --quiet /opt/image.tar test/debian:1
(cd /opt/lanner && exec .venv/bin/lanner run -o json_output=true -r tests/guest/facts.yaml >/root/alerts 2>/root/messages) &
lanner=$!
for _ in $(seq 600); do
    grep -q watching /root/messages && break
    sleep 1
done

# Programs at functions have attach type 24, BPF_TRACE_FENTRY (include/uapi/linux/bpf.h).
grep -h attach_type /proc/$lanner/fdinfo/*
touch /etc/removed && rm /etc/removed

run=(podman run --rm --network=none)
ask podman "${run[@]}" --name podman test/debian:1
ask cgroupfs "${run[@]}" --name cgroupfs --cgroup-manager=cgroupfs test/debian:1
ask runc "${run[@]}" --name runc --runtime=runc test/debian:1
podman run --detach --network=none --name entered test/debian:1 sleep 600
ask exec podman exec entered
systemctl start docker
docker import /opt/image.tar test/debian:1
docker run --detach --network=none --name docker test/debian:1 sleep 600
# Emulated, Docker takes longer to answer than a collector waits.
sleep 20
docker exec docker true
sleep 10
ask docker docker exec docker
ask ctr ctr --namespace named run --rm --rootfs --env PATH=/usr/bin /opt/rootfs ctr
ask unshare unshare --pid --mount --fork --
ask service systemd-run --quiet --wait --pipe
ask host env

sleep 5
kill -INT $lanner
wait $lanner
cat /root/messages
