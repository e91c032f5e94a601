"""Alerts and dead letters as messages. A dead letter has the reason, topic, offset, and the message if it fits."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bus.messages import Headers, cloud_event
from schemas.alert import Alert, encode_alert


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """Key, value and headers of the message."""

    key: bytes
    """Rule and host, so that the alerts of a rule for one host stay in order."""
    value: bytes
    headers: Headers


def alert_message(alert: Alert) -> AlertMessage:
    """Encode an alert, with its key and CloudEvents headers."""
    key = f"{alert.rule}\x1f{alert.host_id or alert.hostname}".encode("utf-8", "replace")
    stamp = datetime.fromtimestamp(alert.time / 1e9, UTC).isoformat().replace("+00:00", "Z")
    return AlertMessage(
        key, encode_alert(alert), cloud_event("lanner.alert", alert.id, alert.hostname or "lanner", stamp)
    )


ORIGINAL = "original_"
"""Prefix of the names of the failed message's headers."""
OMITTED = "omitted_bytes"
"""Header of a dead letter without the message: the size of its value, in decimal digits."""
NOT_FETCHED = "not_fetched"
"""Header of a dead letter whose message could not be read from its topic."""
MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class DeadLetterMessage:
    """Key, value and headers of the message."""

    key: bytes | None
    value: bytes
    facts: Headers
    """Reason, topic, partition, offset, and what the stage adds."""
    original: Headers = field(default_factory=list)
    """The headers of the failed message, with prefixed names."""

    @property
    def headers(self) -> Headers:
        """All headers."""
        return [*self.facts, *self.original]

    def without_message(self) -> "DeadLetterMessage":
        """Return the dead letter to write if this one is refused: without anything that a host chose."""
        return DeadLetterMessage(None, b"", [*self.facts, (OMITTED, b"%d" % len(self.value))])


def dead_letter(
    reason: str,
    source: tuple[str, int, int],
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]] = (),
    *,
    facts: Headers | None = None,
) -> DeadLetterMessage:
    """Return the dead letter of a failed message.

    Args:
        reason: why it failed, for operators.
        source: topic (full name), partition and offset of the message.
        key: key of the message.
        value: value of the message.
        headers: headers of the message.
        facts: further headers from the stage.
    """
    topic, partition, offset = source
    described: Headers = [
        ("reason", reason[:MAX_REASON].encode("utf-8", "replace")),
        ("topic", topic.encode()),
        ("partition", str(partition).encode()),
        ("offset", str(offset).encode()),
        *(facts or []),
    ]
    # Lone surrogates in a name crash the client.
    original: Headers = [(ORIGINAL + name.encode("utf-8", "replace").decode(), each or b"") for name, each in headers]
    return DeadLetterMessage(key, value or b"", described, original)
