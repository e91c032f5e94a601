# Java and a Kafka broker: topics, a producer, a consumer.
. /usr/local/lib/ordinary/lib.sh
runuser -u dev -- /opt/kafka/broker.sh /home/dev/kafka 9092 9093 > /dev/null 2>&1 &
sleep 20
tool() { runuser -u dev -- java -Xmx64m -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' "$@"; }
tool org.apache.kafka.tools.TopicCommand --bootstrap-server 127.0.0.1:9092 --create --topic work --partitions 2
while :; do
    seq 100 | tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server 127.0.0.1:9092 --topic work
    tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server 127.0.0.1:9092 --topic work --from-beginning --max-messages 100 --timeout-ms 10000
    tool org.apache.kafka.tools.TopicCommand --bootstrap-server 127.0.0.1:9092 --describe
    pause 60
done > /dev/null 2>&1
