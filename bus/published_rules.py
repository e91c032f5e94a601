"""The rules topic: its newest message is the version that the fleet runs, signed if a key is configured."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bus import signatures
from bus.clients.compacted import read_topics
from bus.connection import Connection
from bus.messages import Headers, cloud_event
from bus.topics import RULES
from schemas.filter import is_version
from schemas.published_rules import BadRules, PublishedRules, decode_rules, encode_rules

CURRENT = b"current"
SIGNATURE = "signature"
"""The header with an Ed25519 signature of the message's value."""


@dataclass(frozen=True, slots=True)
class VerifiedRules:
    """A version that may be used."""

    rules: PublishedRules
    signed_by: str
    """The id of the key that signed it; empty if no signature is required."""


def rules_message(rules: PublishedRules, key: Ed25519PrivateKey | None) -> tuple[bytes, Headers]:
    """Return value and headers of a version, signed if there is a key. Raises BadRules."""
    value = encode_rules(rules)
    stamp = datetime.fromtimestamp(rules.published / 1e9, UTC).isoformat().replace("+00:00", "Z")
    headers = cloud_event("lanner.rules", rules.version, rules.host or "lanner", stamp)
    if key is not None:
        headers.append((SIGNATURE, signatures.sign(key, signatures.RULES_DOMAIN, value)))
    return value, headers


def accept(message: Message, keys: Iterable[Ed25519PublicKey]) -> VerifiedRules:
    """Decode a version and check that one of the keys signed it. Without keys, no signature is required.

    Raises:
        BadRules: it is not a valid version, or none of the keys signed it.
    """
    value = message.value() or b""
    known = tuple(keys)
    signed_by = ""
    if known:
        signature = dict(message.headers() or []).get(SIGNATURE)
        if not signature:
            raise BadRules("it is not signed, and this processor accepts only signed rules")
        given = signature if isinstance(signature, bytes) else signature.encode()
        signed_by = signatures.signer(known, given, signatures.RULES_DOMAIN, value)
        if not signed_by:
            raise BadRules("none of this processor's keys signed it")
    try:
        return VerifiedRules(decode_rules(value), signed_by)
    except BadRules as error:
        raise BadRules(f"{_named(message)}{error}") from None


def _named(message: Message) -> str:
    """Return a prefix with the version that a message's headers name, for errors about undecodable values."""
    found = dict(message.headers() or []).get("ce_id")
    name = found.decode("utf-8", "replace") if isinstance(found, bytes) else ""
    return f"version {name}: " if is_version(name) else ""


def current(connection: Connection) -> Message | None:
    """Return the newest message of the topic, unchecked; None if nothing was published. Raises BusUnavailable."""
    return read_topics(connection, [RULES])[RULES].get(CURRENT)
