#!/usr/bin/env bash
# Run a Kafka broker on this machine (KRaft, combined mode) in the foreground; stop it by its process id.
# If started again with the same folder, it continues with the data there.
#
#   broker.sh FOLDER PORT CONTROLLER_PORT
#
# An idle broker costs half as much processor time without the records that a controller writes for followers.
# LANNER_BROKER_HEAP=256m; lines of FOLDER/extra.properties are added to the settings.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 port=$2 controller=$3
jars=$("$here/jars.sh")
mkdir -p "$folder"
cat >"$folder/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$folder/data
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=8
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
metadata.max.idle.interval.ms=0
END
[ ! -e "$folder/extra.properties" ] || cat "$folder/extra.properties" >>"$folder/server.properties"
cat >"$folder/log4j2.xml" <<'END'
<Configuration status="error">
  <Appenders><Console name="out" target="SYSTEM_OUT"><PatternLayout pattern="%d %p %c{1}: %m%n"/></Console></Appenders>
  <Loggers>
    <Logger name="kafka.server.KafkaRaftServer" level="info"/>
    <Root level="warn"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
END
mkdir -p "$folder/data" "$folder/tmp"
# What `kafka-storage.sh format` writes, which takes a JVM of its own.
[ -e "$folder/data/meta.properties" ] || cat >"$folder/data/meta.properties" <<END
version=1
cluster.id=AAAAAAAAAAAAAAAAAAAAAQ
node.id=1
END
# Its unpacked libraries stay with the broker if it is killed.
java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData "-Djava.io.tmpdir=$folder/tmp")
archive=$jars/classes-$(stat -Lc %Y "$(command -v java)").jsa  # as class_archive.sh has it
[ ! -e "$archive" ] || java+=("-XX:SharedArchiveFile=$archive")
exec "${java[@]}" "-Xms${LANNER_BROKER_HEAP:-128m}" "-Xmx${LANNER_BROKER_HEAP:-128m}" \
    "-Dlog4j2.configurationFile=$folder/log4j2.xml" -cp "$jars/*" kafka.Kafka "$folder/server.properties"
