"""The SIEM topics as sinks: each alert as a JSON document, kept by every replica before it counts as delivered."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from bus.connection import Connection
from bus.headers import Headers, cloud_event
from bus.producing import make_producer, producer_config
from bus.refusals import is_refusal
from notifier.receiver import Accepted, Later, Outcome, Parcel, Refused
from schemas.alert import Alert
from schemas.timetext import iso8601_zulu

TIMEOUT_SECONDS = 10.0
Document = Callable[[Alert], dict[str, Any]]


class SiemReceiver:
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
        self._producer = make_producer(
            # What isn't taken in time is offered again by the line: the client must not send it still later.
            producer_config(connection, f"lanner-{topic}", queue_bytes=32 << 20)
            | {"message.timeout.ms": int(TIMEOUT_SECONDS * 1000) - 1000}
        )

    def offer(self, parcels: Sequence[Parcel]) -> Outcome:
        """Produce the documents and wait for all acknowledgements."""
        answers: list[KafkaError | None] = [None] * len(parcels)
        waits = [True] * len(parcels)

        def report(place: int) -> Callable[[KafkaError | None, Message], None]:
            def told(error: KafkaError | None, _: Message) -> None:
                answers[place], waits[place] = error, False

            return told

        try:
            for place, parcel in enumerate(parcels):
                alert = parcel.alert
                value = json.dumps(self._document(alert), separators=(",", ":"), default=str).encode()
                self._producer.produce(
                    self._topic, value, alert.id.encode(), headers=list(self._headers(alert)), on_delivery=report(place)
                )
        except (KafkaException, BufferError) as error:
            self._producer.flush(TIMEOUT_SECONDS)
            reason = error.args[0] if isinstance(error, KafkaException) else None
            if isinstance(reason, KafkaError) and is_refusal(reason) and not any(waits[:1]):
                return Accepted(waits.index(True))
            if isinstance(reason, KafkaError) and is_refusal(reason):
                return Refused(reason.str())
            return Later("the broker takes nothing more")
        self._producer.flush(TIMEOUT_SECONDS)
        for place, (fault, unsure) in enumerate(zip(answers, waits, strict=True)):
            if fault is None and not unsure:
                continue
            if place:
                return Accepted(place)
            if fault is not None and is_refusal(fault):
                return Refused(fault.str())
            return Later("no answer from the broker" if fault is None else fault.str())
        return Accepted(len(parcels))

    def tend(self) -> None:
        """Let the client look after its connections."""
        self._producer.poll(0)

    def reopen(self) -> None:
        """Nothing to open anew."""

    def close(self) -> None:
        """Send what is left."""
        self._producer.flush(TIMEOUT_SECONDS)

    def _headers(self, alert: Alert) -> Headers:
        made = cloud_event(self._kind, alert.id, alert.hostname, iso8601_zulu(alert.time))
        return [("content-type", b"application/json"), *(each for each in made if each[0] != "content-type")]
