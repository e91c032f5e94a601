# PostgreSQL: clients, a benchmark, dumps, vacuum, reload.
. /usr/local/lib/ordinary/lib.sh
version=$(ls /usr/lib/postgresql)
as_postgres() { runuser -u postgres -- "$@"; }
pg_ctlcluster "$version" main start
sleep 3
as_postgres createdb bench
as_postgres "/usr/lib/postgresql/$version/bin/pgbench" -q -i bench > /dev/null 2>&1 || as_postgres psql -qc 'create table t (n int)' bench
while :; do
    as_postgres "/usr/lib/postgresql/$version/bin/pgbench" -c 2 -t 10 bench
    as_postgres psql -h /var/run/postgresql -c 'select count(*) from pg_class' bench
    as_postgres psql -c "copy (select * from pg_class) to '/tmp/classes.csv'" bench
    as_postgres pg_dump -f /tmp/bench.sql bench
    as_postgres vacuumdb -q bench
    pg_ctlcluster "$version" main reload
    pg_lsclusters
    pause 70
done > /dev/null 2>&1
