"""The dead letters of a fleet, in the broker's topics."""

from collections.abc import Iterator, Sequence

from bus.connection import Connection
from bus.dead_letters import DeadLetterTopic, DeadMessage, Destination
from bus.headers import Headers
from bus.refusals import Refused
from bus.topics import ALERTS, CORRELATE, EVENTS, NOTIFIER_DEAD_LETTERS, PROCESSOR_DEAD_LETTERS
from bus.writer_schemas import WriterSchemas
from lanner.dead_letters import Letter, alert_in
from lanner.failures import BadInput
from notifier.kafka_line import ONLY_FOR
from schemas.alert import ALERT_FORMAT
from schemas.codec import EVENT_BATCH_FORMAT
from schemas.printable import printable


class TopicPlace:
    """A stage's topic of dead letters."""

    def __init__(self, connection: Connection, stage: str) -> None:
        """Take the topic of ``notifier`` or ``processor``."""
        self.name = stage
        self._connection = connection
        self._schemas = WriterSchemas(connection, (ALERT_FORMAT, EVENT_BATCH_FORMAT))
        self._topic = DeadLetterTopic(
            connection, NOTIFIER_DEAD_LETTERS if stage == "notifier" else PROCESSOR_DEAD_LETTERS
        )

    def letters(self) -> Iterator[Letter]:
        """Give those that are not settled, oldest first."""
        for message in self._topic.open_letters():
            origin = f"{message.text('topic')}[{message.text('partition')}] at {message.text('offset')}"
            data = self._schemas.translate(message.value)
            alert = alert_in(data)
            yield Letter(
                f"{self.name}:{message.offset}",
                message.at,
                message.text("sink") or self.name,
                origin if alert is None else alert.rule,
                message.text("reason"),
                message.number("attempts"),
                message.offset,
                data,
                {"from": origin, **({} if alert is None else {"alert": alert.id, "host": alert.hostname})},
                message,
            )

    def replay(self, letters: Sequence[Letter]) -> None:
        """Put letters back: an alert for the sink alone that refused it, a batch into its own partition."""
        back = [(each.origin, self._destination(each)) for each in letters]
        try:
            self._topic.put_back(back)
        except Refused as error:
            raise BadInput(f"{letters[0].id}: the broker won't take it back: {error}.") from None

    def drop(self, letters: Sequence[Letter], note: str) -> None:
        """Settle letters; the note stays on record with them."""
        try:
            self._topic.settle([each.origin for each in letters], "dropped", note)
        except Refused as error:
            raise BadInput(f"{letters[0].id}: the broker won't take the mark: {error}.") from None

    def _destination(self, letter: Letter) -> Destination:
        message: DeadMessage = letter.origin
        original: Headers = [each for each in message.original if each[0] != ONLY_FOR]
        if self.name == "notifier":
            return Destination(self._connection.topic(ALERTS), -1, [*original, (ONLY_FOR, letter.sink.encode())])
        topic = message.text("topic")
        # A header must not choose where a message goes: anybody who may write here could fill other topics by it.
        if topic not in (self._connection.topic(EVENTS), self._connection.topic(CORRELATE)):
            raise BadInput(
                f"{letter.id}: it came from {printable(topic)!r}, which is no topic of a processor's; drop it."
            )
        return Destination(topic, message.number("partition"), original)
