# systemd with Debian's services, its timers and one of our own, each once a minute: ../etc/systemd.
. /usr/local/lib/ordinary/lib.sh
boot
