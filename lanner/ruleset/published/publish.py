"""Writes a version of the rules, and what it asks of collectors, to their topics."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bus.clients.compacted import CompactedTopicWriter
from bus.errors.unavailable import BusUnavailable
from bus.messages.headers import Headers
from bus.messages.published_rules import CURRENT, rules_message
from bus.topics import INTEREST, MAX_MESSAGE_BYTES, RULES
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.ruleset.published.version import detection_of_published
from lanner.settings import Settings
from lanner.wiring.kafka import connection_of
from schemas.encoding.filter_json import encode_filter
from schemas.published_rules import BadRules, PublishedRules

_JSON: Headers = [("content-type", b"application/json")]


def publish(settings: Settings, rules: PublishedRules, key: Ed25519PrivateKey | None) -> None:
    """Publish a version that has its name; both messages are safe with the broker when this returns.

    Raises:
        BadInput: the version is wrong, or too large.
        BusUnavailable: no broker, or it doesn't take rules from this user.
    """
    try:
        # As whoever reads it will: what the names of files or a switch make of it must be known before.
        interest = encode_filter(detection_of_published(settings, rules).interest)
        value, headers = rules_message(rules, key)
    except BadRules as error:
        raise BadInput(f"that can't be published: {error}.") from None
    if len(interest) > MAX_MESSAGE_BYTES // 2:
        raise BadInput(f"the interest of these rules has {len(interest)} bytes, more than a message may have.")
    writer = CompactedTopicWriter(connection_of(settings))
    try:
        # Collectors widen what they send before anybody judges by it.
        writer.put(INTEREST, rules.version.encode(), interest, _JSON)
    except BusUnavailable as error:
        # Who may publish rules need not be able to blind collectors: processors write what they check.
        note(f"what collectors have to send is left to the processors to say: {error.reason}.")
    writer.put(RULES, CURRENT, value, headers)
