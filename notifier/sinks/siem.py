"""Sinks for the SIEM topics: each alert becomes a JSON document, delivered once every replica has stored it."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from bus.clients import errors
from bus.clients.producers import Outgoing, deliver, resending_producer
from bus.connection import Connection
from bus.messages import Headers, cloud_event
from foundation.quantities import iso8601_zulu
from notifier.sink import Delivered, RetryLater, RoutedAlert, SendOutcome, Sink, Undeliverable
from schemas.alert import Alert

TIMEOUT_SECONDS = 10.0
Document = Callable[[Alert], dict[str, Any]]


class SiemSink(Sink):
    """Produces documents to one topic; the key is the alert's id."""

    batch_size = 500

    def __init__(self, connection: Connection, topic: str, document: Document) -> None:
        """Create a producer.

        Args:
            connection: the broker.
            topic: name without prefix, such as ``siem.ecs``; also the type of its CloudEvents.
            document: maps an alert to a document.

        Raises:
            BusUnavailable: the client can't be created.
        """
        self._topic = connection.topic(topic)
        self._kind = f"lanner.{topic}"
        self._document = document
        self._producer = resending_producer(connection, f"lanner-{topic}", queue_bytes=32 << 20)

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Produce documents and wait for all acknowledgements."""
        messages = []
        for routed in alerts:
            alert = routed.alert
            value = json.dumps(self._document(alert), separators=(",", ":"), default=str).encode()
            messages.append(Outgoing(self._topic, alert.id.encode(), value, self._headers(alert)))
        # What is not acknowledged in time is sent again.
        for index, failure in enumerate(deliver(self._producer, messages, TIMEOUT_SECONDS)):
            if failure is not None:
                if index:
                    return Delivered(index)
                return (
                    Undeliverable(str(failure))
                    if isinstance(failure, errors.MessageRefused)
                    else RetryLater(str(failure))
                )
        return Delivered(len(alerts))

    def idle(self) -> None:
        """Serve the client's callbacks."""
        self._producer.poll(0)

    def close(self) -> None:
        """Discard what is in flight, and disconnect."""
        self._producer.purge()

    def _headers(self, alert: Alert) -> Headers:
        made = cloud_event(self._kind, alert.id, alert.hostname, iso8601_zulu(alert.time))
        return [("content-type", b"application/json"), *(each for each in made if each[0] != "content-type")]
