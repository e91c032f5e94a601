"""The dead letters of a fleet, in the broker's topics."""

from collections.abc import Iterable, Iterator, Sequence

from bus.clients.errors import MessageRefused
from bus.clients.writer_schemas import WriterSchemas
from bus.connection import Connection
from bus.dead_letters import DeadLetterTopic, DeadMessage, Destination, MessageGone
from bus.messages import OMITTED, Headers
from bus.topics import ALERTS, CORRELATE, EVENTS, KUBERNETES_AUDIT, NOTIFIER_DEAD_LETTERS, PROCESSOR_DEAD_LETTERS
from foundation.text import printable
from lanner.dead_letters import StoredDeadLetter, alert_in
from lanner.errors import BadInput
from notifier.kafka_queue import ONLY_FOR
from schemas.alert import ALERT_FORMAT
from schemas.encoding.batch import EVENT_BATCH_FORMAT


class TopicDeadLetters:
    """The dead-letter topic of a stage."""

    def __init__(self, connection: Connection, stage: str, own_topics: Iterable[str] = ()) -> None:
        """Take a stage.

        Args:
            connection: the broker.
            stage: ``notifier`` or ``processor``.
            own_topics: complete names of further topics that the stage reads, by its settings.
        """
        self.name = stage
        names = (ALERTS,) if stage == "notifier" else (EVENTS, CORRELATE, KUBERNETES_AUDIT)
        self._known = frozenset({*map(connection.topic, names), *own_topics})
        self._connection = connection
        self._schemas = WriterSchemas(connection, (ALERT_FORMAT, EVENT_BATCH_FORMAT))
        self._topic = DeadLetterTopic(
            connection, NOTIFIER_DEAD_LETTERS if stage == "notifier" else PROCESSOR_DEAD_LETTERS
        )

    def dead_letters(self) -> Iterator[StoredDeadLetter]:
        """Yield the dead letters that are not settled, oldest first."""
        for message in self._topic.open_messages():
            origin = f"{message.text('topic')}[{message.text('partition')}] at {message.text('offset')}"
            data = self._schemas.translate(message.value)
            alert = alert_in(data)
            without = {"message": _left_out(message)} if message.is_without_message else {}
            yield StoredDeadLetter(
                f"{self.name}:{message.offset}",
                message.at,
                message.text("sink") or self.name,
                origin if alert is None else alert.rule,
                message.text("reason"),
                message.number("attempts"),
                message.offset,
                data,
                {"from": origin, **without, **({} if alert is None else {"alert": alert.id, "host": alert.hostname})},
                message,
            )

    def replay(self, dead_letters: Sequence[StoredDeadLetter]) -> None:
        """Retry dead letters: an alert only for the sink that refused it, a batch in its original partition."""
        try:
            self._topic.put_back([self._outgoing(each) for each in dead_letters])
        except MessageRefused as error:
            raise BadInput(f"{dead_letters[0].id}: the broker refused it: {error}.") from None

    def drop(self, dead_letters: Sequence[StoredDeadLetter], note: str) -> None:
        """Discard dead letters; the note is stored with them."""
        try:
            self._topic.settle([each.origin for each in dead_letters], "dropped", note)
        except MessageRefused as error:
            raise BadInput(f"{dead_letters[0].id}: the broker refused the tombstone: {error}.") from None

    def _outgoing(self, stored: StoredDeadLetter) -> tuple[DeadMessage, Destination]:
        message: DeadMessage = stored.origin
        topic = message.text("topic")
        is_alert = self.name == "notifier"
        # A header must not choose the topic to write or read: anyone who may write dead letters could use it to fill
        # other topics.
        if topic not in self._known and (message.is_without_message or not is_alert):
            raise BadInput(
                f"{stored.id}: it came from {printable(topic)!r}, which is not a topic of the {self.name}; drop it."
            )
        if message.is_without_message:
            try:
                message = self._topic.original(message)
            except MessageGone as error:
                raise BadInput(f"{stored.id}: {printable(str(error))}; drop it.") from None
        original: Headers = [each for each in message.original if each[0] != ONLY_FOR]
        if is_alert:
            only_for: Headers = [(ONLY_FOR, stored.sink.encode())]
            return message, Destination(self._connection.topic(ALERTS), -1, [*original, *only_for])
        return message, Destination(topic, message.number("partition"), original)


def _left_out(message: DeadMessage) -> str:
    """Describe a message that the dead letter doesn't include."""
    if OMITTED in message.headers:
        return f"{message.number(OMITTED)} bytes, too large for a dead letter: still in its original topic"
    return "no longer in its original topic"
