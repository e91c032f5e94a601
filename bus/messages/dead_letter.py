"""A dead letter as a message: why a message failed, where it stood, and the message itself if it still fits."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bus.messages.headers import Headers

ORIGINAL = "original_"
"""Begins the names of the headers that the failed message had."""
OMITTED = "omitted_bytes"
"""Header of a letter without the message: how many bytes the value has, in decimal digits."""
NOT_FETCHED = "not_fetched"
"""Header of a letter whose message can't be read from its topic either."""
MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class DeadLetterMessage:
    """What is produced."""

    key: bytes | None
    value: bytes
    facts: Headers
    """Reason, topic, partition, offset, and what the stage adds."""
    original: Headers = field(default_factory=list)
    """The headers of the failed message, under names of their own."""

    @property
    def headers(self) -> Headers:
        """All headers."""
        return [*self.facts, *self.original]

    def without_message(self) -> "DeadLetterMessage":
        """Return the letter that is written where this one is refused: everything that a host chose is left out."""
        return DeadLetterMessage(None, b"", [*self.facts, (OMITTED, b"%d" % len(self.value))])


def dead_letter(
    reason: str,
    place: tuple[str, int, int],
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]] = (),
    *,
    facts: Headers | None = None,
) -> DeadLetterMessage:
    """Make the letter of a message that failed.

    Args:
        reason: for people.
        place: topic (full name), partition and offset of the message.
        key: of the message.
        value: of the message.
        headers: of the message.
        facts: what else the stage knows about it, by header name.
    """
    topic, partition, offset = place
    told: Headers = [
        ("reason", reason[:MAX_REASON].encode("utf-8", "replace")),
        ("topic", topic.encode()),
        ("partition", str(partition).encode()),
        ("offset", str(offset).encode()),
        *(facts or []),
    ]
    original: Headers = [(f"{ORIGINAL}{_encodable(name)}", each or b"") for name, each in headers]
    return DeadLetterMessage(key, value or b"", told, original)


def _encodable(name: str) -> str:
    """Return a header's name without halves of surrogate pairs: the client crashes by one."""
    return name.encode("utf-8", "replace").decode()
