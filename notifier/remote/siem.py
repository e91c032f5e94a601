"""The SIEM topics as sinks: each alert as a JSON document, kept by every replica before it counts as delivered."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from bus.clients.producers import resending_producer
from bus.clients.resending import Outgoing, deliver
from bus.connection import Connection
from bus.errors import refusals
from bus.messages.headers import Headers, cloud_event
from notifier.delivery.outcome import Delivered, RetryLater, RoutedAlert, SendOutcome, Undeliverable
from schemas.alert import Alert
from schemas.text.times import iso8601_zulu

TIMEOUT_SECONDS = 10.0
Document = Callable[[Alert], dict[str, Any]]


class SiemSink:
    """One topic of documents; the key is the alert's id."""

    most = 500

    def __init__(self, connection: Connection, topic: str, document: Document) -> None:
        """Begin.

        Args:
            connection: the broker.
            topic: its name without prefix, such as ``siem.ecs``; also the type of its CloudEvents.
            document: the mapping.

        Raises:
            BusUnavailable: the client can't be set up.
        """
        self._topic = connection.topic(topic)
        self._kind = f"lanner.{topic}"
        self._document = document
        self._producer = resending_producer(connection, f"lanner-{topic}", queue_bytes=32 << 20)

    def offer(self, parcels: Sequence[RoutedAlert]) -> SendOutcome:
        """Produce the documents and wait for all acknowledgements."""
        messages = []
        for parcel in parcels:
            alert = parcel.alert
            value = json.dumps(self._document(alert), separators=(",", ":"), default=str).encode()
            messages.append(Outgoing(self._topic, alert.id.encode(), value, self._headers(alert)))
        # What isn't taken in time is offered again by the line.
        for place, failure in enumerate(deliver(self._producer, messages, TIMEOUT_SECONDS)):
            if failure is not None:
                if place:
                    return Delivered(place)
                return (
                    Undeliverable(str(failure))
                    if isinstance(failure, refusals.MessageRefused)
                    else RetryLater(str(failure))
                )
        return Delivered(len(parcels))

    def tend(self) -> None:
        """Let the client look after its connections."""
        self._producer.poll(0)

    def reopen(self) -> None:
        """Nothing to open anew."""

    def close(self) -> None:
        """Let go of the broker."""
        self._producer.purge()

    def _headers(self, alert: Alert) -> Headers:
        made = cloud_event(self._kind, alert.id, alert.hostname, iso8601_zulu(alert.time))
        return [("content-type", b"application/json"), *(each for each in made if each[0] != "content-type")]
