#!/bin/bash
# Run a broker configured by environment variables, like the image apache/kafka: KAFKA_LOG_DIRS sets log.dirs; two
# underscores stand for one, three for a dash.
set -euo pipefail
settings=/tmp/server.properties
env -0 | while IFS='=' read -r -d '' name value; do
    case $name in
        KAFKA_HEAP_OPTS) ;;
        KAFKA_*)
            name=${name#KAFKA_}
            name=${name//___/-} name=${name//__/%} name=${name//_/.} name=${name//%/_}
            printf '%s=%s\n' "${name,,}" "$value"
            ;;
    esac
done >"$settings"
java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile=/opt/kafka/log4j2.xml -cp '/opt/kafka/libs/*')
# What `kafka-storage.sh format` writes, which takes a JVM of its own.
[ -e "$KAFKA_LOG_DIRS/meta.properties" ] || {
    mkdir -p "$KAFKA_LOG_DIRS"
    printf 'version=1\ncluster.id=%s\nnode.id=%s\n' "$CLUSTER_ID" "$KAFKA_NODE_ID" >"$KAFKA_LOG_DIRS/meta.properties"
}
# shellcheck disable=SC2086  # several options
exec "${java[@]}" ${KAFKA_HEAP_OPTS:--Xms256m -Xmx256m} kafka.Kafka "$settings"
