# Redis: clients, snapshots, a rewritten append-only file.
. /usr/local/lib/ordinary/lib.sh
runuser -u redis -- redis-server /etc/redis/redis.conf --daemonize yes --appendonly yes > /dev/null
sleep 1
while :; do
    redis-cli set key "$RANDOM"
    redis-cli get key
    redis-benchmark -q -n 200 -c 5
    redis-cli bgsave
    sleep 3
    redis-cli bgrewriteaof
    redis-cli info
    pause 60
done > /dev/null 2>&1
