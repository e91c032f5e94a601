"""Messages: alerts and dead letters as messages, their headers and times, and the offsets of hosts' clocks.

Headers are those of CloudEvents and of signed content. A dead letter has the reason, topic, offset, and the message if
it fits. Pure. The correction of a batch's times depends on that message alone, so that every reader, live or later,
computes the same times and so the same alert ids.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.alert import Alert

Headers = list[tuple[str, str | bytes | None]]

AVRO = b"avro/binary"
JSON_HEADERS: Headers = [("content-type", b"application/json")]
"""The headers of a JSON message that needs no others."""
SENT = "lanner_sent"
"""When a batch was passed to the client, wall clock, ns; the batch itself was encoded earlier."""
CLOCK = "lanner_clock"
"""How far the broker's clock is ahead of the host's, ns; present once the collector has measured it."""

KEY = "lanner_key"
"""The header with the public key of the host, 32 bytes."""
SIGNATURE = "lanner_signature"
"""The header with an Ed25519 signature, 64 bytes."""
SIGNATURE_BYTES = 64
BATCH_DOMAIN = b"lanner batch\0"
"""Precedes the signed bytes, so that the signature is not valid for anything else."""
HOST_DOMAIN = b"lanner host\0"
"""The same for a collector's announcement."""
SIGNED_HEADERS = (SENT, CLOCK)
"""Headers that affect how a batch is read: its times are corrected by them."""
TOLERATED = 5_000_000_000
"""ns; smaller offsets are not corrected."""
AHEAD = 10_000_000_000
"""How much later than its append time an event may be dated, ns: clocks that are at most TOLERATED off are not
corrected, and an offset is measured to within half a second."""
BEHIND = 90 * 86_400 * 1_000_000_000
"""How much earlier, ns. Old events can't silence anything, so the bound is wide: a quiet host's heartbeats take two
months to fill a spool of the default size, and dead letters that are replayed are retained for one."""
_MAX_ROUND_TRIP = 1_000_000_000
_LONGEST = 20
_CLOCK_MEMORY_SECONDS = 300.0
_FARTHEST = 100 * 365 * 86_400 * 1_000_000_000
"""ns; larger offsets are ignored. The limit covers a clock that starts in 1970 because its battery is empty."""
_SEED, _M, _R = 0x9747B28C, 0x5BD1E995, 24
_WORD = 0xFFFFFFFF
ORIGINAL = "original_"
"""Prefix of the names of the failed message's headers."""
OMITTED = "omitted_bytes"
"""Header of a dead letter without the message: the size of its value, in decimal digits."""
NOT_FETCHED = "not_fetched"
"""Header of a dead letter whose message could not be read from its topic."""
MAX_REASON = 500


def cloud_event(kind: str, identity: str, source: str, time: str) -> Headers:
    """Return the CloudEvents headers of a message.

    Args:
        kind: type of the message, such as ``lanner.alert``.
        identity: an id that is unique within the source.
        source: the host that the message is from.
        time: RFC 3339.
    """
    return [
        ("content-type", AVRO),
        ("ce_specversion", b"1.0"),
        ("ce_type", kind.encode()),
        ("ce_id", identity.encode()),
        ("ce_source", source.encode("utf-8", "replace")),
        ("ce_time", time.encode()),
    ]


def signed_content(topic: str, key: bytes, headers: Mapping[str, bytes], value: bytes) -> bytes:
    """Return the bytes that the signature of a message covers, without the domain.

    Signing the topic keeps a batch from being replayed in another fleet; signing the key binds it to its host id. The
    result is a digest, because Ed25519 reads its message twice and hashing needs no copy of the batch.

    Args:
        topic: full name.
        key: key of the message: the host id.
        headers: headers of the message; only the signed ones are used.
        value: the batch as it is sent.
    """
    digest = sha256()
    for part in (topic.encode(), key, *(headers.get(name, b"") for name in SIGNED_HEADERS)):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    digest.update(value)
    return digest.digest()


def append_time(milliseconds: int) -> int:
    """Return a message's append time in ns since the epoch: the end of the millisecond that the broker reports.

    So an event within that millisecond is never later than its message.
    """
    return milliseconds * 1_000_000 + 999_999


class HostClock:
    """Measures the offset on the host from each delivery, which reports the broker's append time."""

    def __init__(self) -> None:
        self.offset: int | None = None
        """How far the broker's clock is ahead, ns; None before the first usable delivery."""

    def delivered(self, sent: int, acknowledged: int, appended: int) -> None:
        """Record a delivery; slow ones are ignored because they are too imprecise.

        Args:
            sent: by the host's clock, ns.
            acknowledged: by the host's clock, ns.
            appended: by the broker's clock, ns.
        """
        if 0 <= acknowledged - sent <= _MAX_ROUND_TRIP:
            self.offset = appended - (sent + acknowledged) // 2


class BrokerClock:
    """Estimates the broker's time from the timestamps of its messages; never later than the real time there.

    A message that is read immediately gives it almost exactly. Of this machine's clocks, only a monotonic one is used.
    """

    def __init__(self) -> None:
        self._lead: float | None = None
        """How far the broker's clock is ahead of this process's, ms: the maximum over all messages."""
        self._fresh: float | None = None
        """The maximum over the newest messages alone, to follow a broker's clock that was set back."""
        self._since = 0.0

    def seen(self, appended: int, now: float) -> None:
        """Record a message. appended: when the broker appended it, ms since the epoch; now: a monotonic clock, s."""
        lead = appended - now * 1000
        if now - self._since >= _CLOCK_MEMORY_SECONDS:
            self._lead, self._fresh, self._since = self._fresh, None, now
        self._fresh = lead if self._fresh is None else max(self._fresh, lead)
        self._lead = self._fresh if self._lead is None else max(self._lead, self._fresh)

    def now(self, now: float) -> int | None:
        """Return the broker's time, ms since the epoch; None before the first message. now: as in seen."""
        return None if self._lead is None else int(self._lead + now * 1000)


def correction(headers: Iterable[tuple[str, object]], appended: int) -> int:
    """Return the correction to add to the times of a batch, ns; 0 if the host's clock is right or nothing is known.

    Without the collector's own measurement, the time from sending to appending counts as clock skew, which is wrong
    only for a batch that waited.

    Args:
        headers: headers of the message, from a host that may be compromised.
        appended: by the broker's clock, ns.
    """
    found = {name: value for name, value in headers if name in (CLOCK, SENT)}
    offset = _number(found.get(CLOCK))
    if offset is None:
        sent = _number(found.get(SENT))
        offset = appended - sent if sent is not None else 0
    return offset if TOLERATED < abs(offset) < _FARTHEST else 0


def _number(value: object) -> int | None:
    if not isinstance(value, bytes) or len(value) > _LONGEST:
        return None
    try:
        return int(value)
    except ValueError:
        return None


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key."""
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    length = len(data)
    mixed = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _WORD
        k = (k ^ k >> _R) * _M & _WORD
        mixed = mixed * _M & _WORD ^ k
    if rest := data[whole:]:
        mixed = (mixed ^ int.from_bytes(rest, "little")) * _M & _WORD
    mixed = (mixed ^ mixed >> 13) * _M & _WORD
    return mixed ^ mixed >> 15


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """Key, value and headers of the message."""

    key: bytes
    """Rule and host, so that the alerts of a rule for one host stay in order."""
    value: bytes
    headers: Headers


def alert_message(alert: "Alert") -> AlertMessage:
    """Encode an alert, with its key and CloudEvents headers."""
    # Imported here, because the library of Avro takes 3 MiB, and services that send no alerts need none.
    from schemas.alert import encode_alert  # noqa: PLC0415

    key = f"{alert.rule}\x1f{alert.host_id or alert.hostname}".encode("utf-8", "replace")
    stamp = datetime.fromtimestamp(alert.time / 1e9, UTC).isoformat().replace("+00:00", "Z")
    return AlertMessage(
        key, encode_alert(alert), cloud_event("lanner.alert", alert.id, alert.hostname or "lanner", stamp)
    )


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
