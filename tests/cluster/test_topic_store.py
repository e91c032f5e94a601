import pytest
from confluent_kafka import Producer

from bus.connection import client_config
from bus.topics import ALERTS, EVENTS
from lanner.recorder.topic import TopicStore
from schemas.alert import encode_alert
from schemas.encoding.batch import encode_batch
from tests.cluster.broker import Broker
from tests.cluster.conftest import with_topics
from tests.unit.lanner.recorder.test_event_stores import EventStoreTests, Filled, stored_now


class TestTopicStore(EventStoreTests):
    """Topics of one partition, so that the first message was published first."""

    @pytest.fixture
    def filled(self, broker: Broker) -> Filled:
        """Return topics; their second messages are truncated."""
        stored, connection = stored_now(), with_topics(broker, 1)
        producer = Producer(client_config(connection, "test"))
        for number, (batch, alert) in enumerate(zip(stored.batches, stored.alerts, strict=True)):
            end = -20 if number == 1 else None
            for topic, value in ((EVENTS, encode_batch(batch)), (ALERTS, encode_alert(alert))):
                headers = [("ce_id", alert.id.encode())]
                producer.produce(connection.topic(topic), value[:end], batch.host_id, headers=headers)
            producer.flush(30)
        notes: list[str] = []
        return Filled(TopicStore(connection, lambda text, *_: notes.append(text)), stored, notes)
