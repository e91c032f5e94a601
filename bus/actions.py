"""The topics of actions: signed records of what is to be done, what people decided, and what hosts did.

A record counts only if one of the keys that its reader knows has signed it. Without keys, none counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from bus.messages import JSON_HEADERS, SIGNATURE, Headers
from bus.topics import ACTION_DECISIONS, ACTION_INTENTS, ACTION_RESULTS
from schemas.action import (
    ActionDecision,
    ActionIntent,
    ActionResult,
    BadActionRecord,
    decode_action_record,
    encode_action_record,
)

if TYPE_CHECKING:
    from confluent_kafka import Message
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SignedRecord = ActionIntent | ActionDecision | ActionResult
_Record = TypeVar("_Record", ActionIntent, ActionDecision, ActionResult)
_TOPICS: Mapping[type[SignedRecord], str] = {
    ActionIntent: ACTION_INTENTS,
    ActionDecision: ACTION_DECISIONS,
    ActionResult: ACTION_RESULTS,
}


@dataclass(frozen=True, slots=True)
class VerifiedRecord(Generic[_Record]):
    """A record whose signature was checked."""

    record: _Record
    signed_by: str
    """The id of the key."""


@dataclass(frozen=True, slots=True)
class PeopleKeys:
    """The keys that sign decisions, and intents by hand."""

    people: "tuple[tuple[str, Ed25519PublicKey], ...]" = ()
    """Names of persons, each with a key: whatever a record states, it is of the person whose key signed it."""
    consoles: "tuple[Ed25519PublicKey, ...]" = ()
    """The keys of consoles and notifiers, which state who decided."""

    @property
    def every(self) -> "tuple[Ed25519PublicKey, ...]":
        """All keys."""
        return (*(key for _, key in self.people), *self.consoles)

    def named(self, found: "VerifiedRecord[_Record]") -> _Record:
        """Return a record by the person whose key signed it; one of a console or processor stays as it is."""
        from bus import signatures  # noqa: PLC0415

        record = found.record
        name = next((name for name, key in self.people if signatures.key_id(key) == found.signed_by), "")
        return record if not name or isinstance(record, ActionResult) else replace(record, by=name)


def domain_of(kind: type[SignedRecord]) -> bytes:
    """Return the prefix that keeps a signature of one kind of record from being valid for another."""
    return f"lanner {_TOPICS[kind]}\0".encode()


def topic_of(record: SignedRecord) -> str:
    """Return the topic of a record, without prefix."""
    return _TOPICS[type(record)]


def key_of(record: SignedRecord) -> bytes:
    """Return the key of a record's message: records of one kind about the same thing have the same."""
    if isinstance(record, ActionResult):
        return f"{record.intent}\x1f{record.outcome}".encode()
    return record.id.encode()


def action_message(record: SignedRecord, key: "Ed25519PrivateKey") -> tuple[bytes, bytes, Headers]:
    """Return key, value and headers of a record's message. Raises BadActionRecord."""
    from bus import signatures  # noqa: PLC0415  the collector, which signs otherwise, needs no library for it

    value = encode_action_record(record)
    signature = signatures.sign(key, domain_of(type(record)), value)
    return key_of(record), value, [*JSON_HEADERS, (SIGNATURE, signature)]


def verified(
    value: bytes, signature: bytes, kind: type[_Record], keys: "Iterable[Ed25519PublicKey]"
) -> VerifiedRecord[_Record]:
    """Check who signed a record, and decode it.

    Raises:
        BadActionRecord: none of the keys signed it, or it is not a record of this kind.
    """
    from bus import signatures  # noqa: PLC0415

    signed_by = signatures.signer(keys, signature, domain_of(kind), value)
    if not signed_by:
        raise BadActionRecord("none of the accepted keys signed it" if signature else "it is not signed")
    return VerifiedRecord(decode_action_record(value, kind), signed_by)


def signature_of(message: "Message") -> bytes:
    """Return the signature of a message; empty if it has none."""
    found = dict(message.headers() or []).get(SIGNATURE)
    return found if isinstance(found, bytes) else b""
