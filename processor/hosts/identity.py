"""Decides whether a message of the events topic comes from the host that it names, before it is decoded.

Pure: messages and clock are given. The keys of hosts are enrolled by operators or pinned by processors, in the order of
their topics: every processor reads the same two topics from their beginnings, so all come to the same keys. What needs
no arithmetic is checked first, so that a message is refused cheaply: only one with the right key, or of a host that is
new, costs the check of a signature.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from sys import intern
from typing import Literal

from bus.messages import BATCH_DOMAIN, KEY, SIGNATURE, SIGNATURE_BYTES, SIGNED_HEADERS, partition_of, signed_content
from bus.signatures import BadSigningKey, bare_public_key, is_signed_by
from foundation.throttling import RateLimit
from processor.matching.pre_match import QUIET, Notice
from processor.output.internal_alerts import Cause
from schemas.host_keys import (
    MAX_HOST_ID_BYTES,
    PUBLIC_KEY_BYTES,
    BadHostKey,
    HostKey,
    check_host_id,
    decode_host_key,
    key_id,
)

MAX_HOSTS = 100_000
"""Limit for each kind. A known host is never evicted for a new one: beyond this, new ones are refused."""

NEW_AT_ONCE = 10_000
"""A whole fleet may start at once."""
NEW_PER_SECOND = 10.0
Mode = Literal["trust_on_first_use", "enrolled"]
VERIFIED, UNSIGNED = "verified", "unsigned"
"""Outcomes of messages that are accepted."""
OUTCOMES = (
    *(VERIFIED, UNSIGNED, "not_signed", "other_key", "bad_signature", "other_id", "not_enrolled", "revoked"),
    *("partition", "bad_form", "bad_id", "too_many"),
)
"""All there are."""
_MAX_SIGNED_HEADER = 32
"""Bytes; a time in decimal digits fits."""
_NAMES = frozenset({KEY, SIGNATURE, *SIGNED_HEADERS})
NOT_VERIFIED = "Lanner internal: batch not verified"
MOST_HOSTS = 50
_OTHER_HOSTS = ""
_ENROLL = "if the host was reinstalled or is new, `lanner hosts enroll` takes this key"


class KnownHosts:
    """The key of each host that has one."""

    def __init__(self, limit: int = MAX_HOSTS) -> None:
        self._limit = limit
        self._decided: dict[str, HostKey] = {}
        """By operators."""
        self._pinned: dict[str, HostKey] = {}
        """By processors, as the topic has it."""
        self._claimed: dict[str, HostKey] = {}
        """By this processor, until the topic has it."""

    @property
    def is_full(self) -> bool:
        """True if the limit of pinned hosts is reached."""
        return len(self._pinned) + len(self._claimed) >= self._limit

    def find(self, host_id: str, *, pins: bool = True) -> HostKey | None:
        """Return the record of a host; an operator's record overrides any pin.

        Args:
            host_id: the host.
            pins: whether pins count.
        """
        found = self._decided.get(host_id)
        if found is None and pins:
            found = self._pinned.get(host_id) or self._claimed.get(host_id)
        return found

    def everything(self) -> Mapping[str, HostKey]:
        """Return the record of each host, pins included."""
        return self._claimed | self._pinned | self._decided

    def counts(self) -> Mapping[str, int]:
        """Return how many hosts were pinned, and how many of them or others an operator decided about."""
        return {"pinned": len(self._pinned) + len(self._claimed), "decided": len(self._decided)}

    def claim(self, record: HostKey) -> None:
        """Count a pin that this processor decided on, until the topic shows which was first."""
        self._claimed[record.host_id] = record

    def take_decision(self, key: bytes, value: bytes | None) -> str:
        """Apply a message of the operators' topic; the newest record of a host counts.

        Returns:
            What is wrong with the message, which is then left out; empty if it is fine.
        """
        host_id = key.decode("utf-8", "replace")
        if value is None:
            self._decided.pop(host_id, None)
            return ""
        try:
            record = _record(host_id, value, ("enrolled", "revoked"))
        except BadHostKey as error:
            return str(error)
        if host_id not in self._decided and len(self._decided) >= self._limit:
            return f"{self._limit} hosts are enrolled or revoked already"
        self._decided[host_id] = record
        return ""

    def take_pin(self, key: bytes, value: bytes | None) -> HostKey | None:
        """Apply a message of the pins' topic; the first pin of a host counts.

        Returns:
            A pin to be written again: compaction would leave a later one in its place.
        """
        host_id = key.decode("utf-8", "replace")
        if value is None:
            self._pinned.pop(host_id, None)
            self._claimed.pop(host_id, None)
            return None
        first = self._pinned.get(host_id)
        try:
            record = _record(host_id, value, ("pinned",))
        except BadHostKey:
            return first
        self._claimed.pop(host_id, None)
        if first is None:
            if len(self._pinned) < self._limit:
                self._pinned[host_id] = record
            return None
        return first if first.public_key != record.public_key else None


def _record(host_id: str, value: bytes, states: tuple[str, ...]) -> HostKey:
    record = decode_host_key(value)
    if record.host_id != host_id:
        raise BadHostKey(f"the record names another host than its message key: {record.host_id[:100]!r}")
    if record.state not in states:
        raise BadHostKey(f"state {record.state!r} is not allowed in this topic")
    # A few numbers stand for many hosts.
    return replace(record, by=intern(record.by))


@dataclass(frozen=True, slots=True)
class EventsMessage:
    """A message of the events topic as stored."""

    partition: int
    key: bytes | None
    headers: Iterable[tuple[str, object]]
    value: bytes
    appended: int
    """The broker's clock, ns."""


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """A message that may be decoded."""

    host_id: str
    """The host that signed it; empty if it is not signed."""
    is_verified: bool
    pin: HostKey | None = None
    """A new host's key, to be pinned if its batch can be decoded."""


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """A message that is rejected."""

    host_id: str
    """The host id that it claims."""
    reason: str
    """For people; names the keys."""
    outcome: str
    """The outcome to count."""
    is_known: bool
    """True if the host that it names has a key, so that somebody else may have spoken for it."""


class IdentityGate:
    """Checks messages against the keys of known hosts."""

    def __init__(
        self,
        mode: Mode,
        topic: str,
        partitions: int,
        known: KnownHosts,
        *,
        clock: Callable[[], float],
        worker: str = "",
    ) -> None:
        """Begin.

        Args:
            mode: whether pinned keys count, or only keys that operators enrolled.
            topic: of events, full name.
            partitions: how many it has.
            known: keys of hosts; changed from outside.
            clock: a monotonic clock, s.
            worker: the name of this processor, stored with pins.
        """
        self.outcomes: Counter[str] = Counter()
        """Messages by outcome."""
        self.known = known
        self._pins = mode == "trust_on_first_use"
        self._topic = topic
        self._partitions = partitions
        self._new = RateLimit[None](NEW_PER_SECOND, NEW_AT_ONCE)
        self._clock = clock
        self._worker = worker

    @property
    def hosts(self) -> int:
        """The number of hosts that have a key; if only enrolled ones count, those about which an operator decided."""
        counts = self.known.counts()
        return counts["decided"] + (counts["pinned"] if self._pins else 0)

    def check(self, message: EventsMessage) -> VerifiedMessage | RejectedMessage:
        """Check a message before it is evaluated; rejections are counted."""
        checked = self.examine(message)
        if isinstance(checked, VerifiedMessage) and checked.pin is not None:
            is_full = self.known.is_full
            if is_full or not self._new.take(None, self._clock()):
                what = "as many hosts are pinned as can be" if is_full else "too many new hosts come at once"
                reason = f"{what}: `lanner hosts list` shows them, `lanner hosts forget` makes room"
                checked = RejectedMessage(checked.host_id, reason, "too_many", is_known=False)
        if isinstance(checked, RejectedMessage):
            self.outcomes[checked.outcome] += 1
        return checked

    def agree(self, accepted: VerifiedMessage, host_id: str) -> RejectedMessage | None:
        """Check that a decoded batch comes from the host that signed it; the outcome is counted.

        Args:
            accepted: returned by check() for its message.
            host_id: in the batch.

        Returns:
            Why it counts for nothing; None if all is well.
        """
        rejected = self._disagreement(accepted, host_id)
        if rejected is not None:
            self.outcomes[rejected.outcome] += 1
        else:
            self.outcomes[VERIFIED if accepted.is_verified else UNSIGNED] += 1
        return rejected

    def may_be_genuine(self, message: EventsMessage) -> bool:
        """Return whether a message names the key of the host that it claims; its signature is not checked."""
        try:
            _, host_id = _host_id(message.key)
        except BadHostKey:
            return False
        known = self.known.find(host_id, pins=self._pins)
        named = next((value for name, value in message.headers if name == KEY), None)
        return self._pins if known is None else known.state != "revoked" and known.public_key == named

    def is_of(self, accepted: VerifiedMessage, host_id: str) -> bool:
        """Return whether a decoded batch comes from the host that signed it; nothing is counted."""
        return self._disagreement(accepted, host_id) is None

    def examine(self, message: EventsMessage) -> VerifiedMessage | RejectedMessage:
        """Check a message that was evaluated before; nothing is counted, and no new host is accepted."""
        try:
            key, host_id = _host_id(message.key)
        except BadHostKey as error:
            return RejectedMessage("", f"its key is not a host's id: {error}", "bad_id", is_known=False)
        known = self.known.find(host_id, pins=self._pins)

        def rejected(reason: str, outcome: str) -> RejectedMessage:
            return RejectedMessage(host_id, reason, outcome, is_known=known is not None)

        if known is not None and known.state == "revoked":
            return rejected(f"host {host_id} was revoked", "revoked")
        given = {name: value for name, value in message.headers if name in _NAMES}
        if KEY not in given and SIGNATURE not in given:
            if known is None and self._pins:
                return VerifiedMessage("", is_verified=False)
            return rejected(_unsigned(known), "not_signed")
        proof = _proof(given)
        if proof is None:
            return rejected("its signature, or a header that it covers, is not as collectors write it", "bad_form")
        if known is None and not self._pins:
            return rejected(
                f"host {host_id} is not enrolled; it signs with key {proof.public_key.hex()}", "not_enrolled"
            )
        if known is not None and known.public_key != proof.public_key:
            return rejected(f"it is signed with key {proof.public_key.hex()}, and {_key_of(known)}", "other_key")
        if message.partition != partition_of(key, self._partitions):
            return rejected(
                f"it is in partition {message.partition}, but its host's messages are in another one", "partition"
            )
        if not _is_genuine(proof, signed_content(self._topic, key, proof.headers, message.value)):
            return rejected(f"its signature with key {key_id(proof.public_key)} is invalid", "bad_signature")
        pin = None
        if known is None:
            pin = HostKey(host_id, "pinned", proof.public_key, message.appended, self._worker)
        return VerifiedMessage(host_id, is_verified=True, pin=pin)

    def _disagreement(self, accepted: VerifiedMessage, host_id: str) -> RejectedMessage | None:
        known = self.known.find(host_id, pins=self._pins)
        if accepted.is_verified:
            if host_id == accepted.host_id:
                return None
            reason = f"it was signed by host {accepted.host_id}, but names host {host_id}"
            return RejectedMessage(host_id, reason, "other_id", is_known=known is not None)
        if known is None:
            return None
        return RejectedMessage(host_id, _unsigned(known), "not_signed", is_known=True)


@dataclass(frozen=True, slots=True)
class _Proof:
    """The headers of a signed message."""

    public_key: bytes
    signature: bytes
    headers: Mapping[str, bytes]
    """The headers that are signed with the batch."""


def _host_id(key: bytes | None) -> tuple[bytes, str]:
    if key is None or len(key) > MAX_HOST_ID_BYTES:
        raise BadHostKey("none" if key is None else f"{len(key)} bytes; {MAX_HOST_ID_BYTES} are allowed")
    try:
        host_id = key.decode()
    except UnicodeDecodeError:
        raise BadHostKey("not UTF-8") from None
    check_host_id(host_id)
    return key, host_id


def _proof(given: Mapping[str, object]) -> _Proof | None:
    """Return what the headers prove it by; None if one of them has not the form that collectors write."""
    found = {name: value for name, value in given.items() if isinstance(value, bytes)}
    public, signature = found.get(KEY, b""), found.get(SIGNATURE, b"")
    signed = {name: found[name] for name in SIGNED_HEADERS if name in found}
    is_whole = len(found) == len(given) and len(public) == PUBLIC_KEY_BYTES and len(signature) == SIGNATURE_BYTES
    if not is_whole or any(len(value) > _MAX_SIGNED_HEADER for value in signed.values()):
        return None
    return _Proof(public, signature, signed)


def _is_genuine(proof: _Proof, content: bytes) -> bool:
    try:
        return is_signed_by(bare_public_key(proof.public_key), proof.signature, BATCH_DOMAIN, content)
    except BadSigningKey:
        return False


def _unsigned(known: HostKey | None) -> str:
    return "it is not signed" if known is None else f"it is not signed, and {_key_of(known)}"


def _key_of(known: HostKey) -> str:
    if known.state == "revoked":
        return f"host {known.host_id} was revoked"
    return f"host {known.host_id} has the key {key_id(known.public_key)}"


class RejectedBatches:
    """Remembers which hosts have an alert of their own."""

    def __init__(self) -> None:
        self._named: dict[str, int] = {}
        """When a batch was last rejected under each of these ids, by the broker's clock, ns."""

    def notice(
        self, rejected: RejectedMessage, position: tuple[str, int, int], hostname: str, appended: int
    ) -> tuple[Cause, Notice]:
        """Return the notice about a rejected batch, and its cause.

        Args:
            rejected: why, and under whose id it came.
            position: topic, partition, offset.
            hostname: of the host whose id it is, where known.
            appended: the broker's clock, ns.
        """
        is_named = rejected.is_known and self._is_named(rejected.host_id, appended)
        about = f"host {rejected.host_id}" if rejected.host_id else "no host"
        text = f"a batch with the id of {about} was rejected: {rejected.reason}"
        if rejected.outcome in ("other_key", "not_enrolled"):
            text += f" | {_ENROLL}"
        cause = Cause(rejected.host_id if is_named else _OTHER_HOSTS, hostname if is_named else "", appended, position)
        return cause, Notice(NOT_VERIFIED, "Critical" if is_named else "Warning", {"batches": 1}, text)

    def _is_named(self, host_id: str, now: int) -> bool:
        if host_id not in self._named and len(self._named) >= MOST_HOSTS:
            self._named = {host: at for host, at in self._named.items() if now - at < QUIET}
        if host_id in self._named or len(self._named) < MOST_HOSTS:
            self._named[host_id] = now
            return True
        return False
