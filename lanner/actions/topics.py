"""Records of actions of a fleet, in its topics."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bus import signatures
from bus.actions import action_message, domain_of, signature_of, topic_of
from bus.clients.compacted import CompactedTopicReader, CompactedTopicWriter
from bus.connection import Connection
from bus.messages import append_time
from bus.topics import ACTION_DECISIONS, ACTION_INTENTS, ACTION_RESULTS
from lanner.actions.book import ActionBook, ActionRecord
from lanner.errors import BadInput
from schemas.action import ActionDecision, ActionIntent, ActionResult, BadActionRecord, decode_action_record

_KINDS = {ACTION_INTENTS: ActionIntent, ACTION_DECISIONS: ActionDecision, ACTION_RESULTS: ActionResult}
_POLL_SECONDS = 0.2


class TopicActionRecords:
    """The topics. Anyone with the right to write can store anything: hosts act only on what an accepted key signed."""

    def __init__(
        self, connection: Connection, key: Ed25519PrivateKey | None = None, known: Sequence[Ed25519PublicKey] = ()
    ) -> None:
        """Connect.

        Args:
            connection: the broker.
            key: signs what is written; None to read only.
            known: keys of people and processors; the book learns which of them signed an intent.

        Raises:
            BusUnavailable: the client can't use the settings.
        """
        self._connection = connection
        self._key = key
        self._known = known
        self._reader = CompactedTopicReader(connection, tuple(_KINDS))
        self._writer: CompactedTopicWriter | None = None
        self.unreadable = 0
        """Records of another release, or that somebody forged."""

    def update(self, book: ActionBook) -> list[ActionRecord]:
        """Pass the records that were stored since the last call to a book, and return them.

        Raises:
            BusUnavailable: the broker is not reachable, before the topics were read once.
        """
        records: list[ActionRecord] = []
        while (found := self._reader.poll(_POLL_SECONDS)) is not None or not self._reader.has_read_all:
            if found is None:
                if self._reader.last_error:
                    raise self._reader.unavailable()
                continue
            topic, message = found
            kind, value = _KINDS[topic], message.value() or b""
            try:
                record: ActionRecord = decode_action_record(value, kind)
            except BadActionRecord:
                self.unreadable += 1
                continue
            signed_by = signatures.signer(self._known, signature_of(message), domain_of(kind), value)
            book.take(record, append_time(message.timestamp()[1]), signed_by)
            records.append(record)
        return records

    def write(self, record: ActionRecord) -> None:
        """Sign and store a record. Raises BadInput without a key, BadActionRecord, or BusUnavailable."""
        if self._key is None:
            raise BadInput("records of actions need a signature: give --sign-key, or set actions.key_file.")
        self._writer = self._writer or CompactedTopicWriter(self._connection)
        self._writer.put(topic_of(record), *action_message(record, self._key))

    def close(self) -> None:
        """Close the client."""
        self._reader.close()
