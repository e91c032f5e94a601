"""Publishes a version of the rules, and the pushdown filter that it needs, to their topics."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bus.clients.compacted import CompactedTopicWriter
from bus.errors.unavailable import BusUnavailable
from bus.messages.headers import Headers
from bus.messages.published_rules import CURRENT, rules_message
from bus.topics import MAX_MESSAGE_BYTES, PUSHDOWN_FILTERS, RULES
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.ruleset.published.version import detection_of_published
from lanner.settings import Settings
from lanner.wiring.kafka import reachable_connection
from schemas.encoding.filter_json import encode_filter
from schemas.records.published_rules import BadRules, PublishedRules

_JSON: Headers = [("content-type", b"application/json")]


def publish(settings: Settings, rules: PublishedRules, key: Ed25519PrivateKey | None) -> None:
    """Publish a named version; on return the broker has stored both messages.

    Raises:
        BadInput: The version is invalid or too large.
        BusUnavailable: No broker, or it denies this user to publish rules.
    """
    try:
        # Compile it as processors will, to find errors caused by file names or switches.
        encoded = encode_filter(detection_of_published(settings, rules).pushdown_filter)
        value, headers = rules_message(rules, key)
    except BadRules as error:
        raise BadInput(f"can't publish: {error}.") from None
    if len(encoded) > MAX_MESSAGE_BYTES // 2:
        raise BadInput(f"the pushdown filter of these rules is too large for a message: {len(encoded)} bytes.")
    writer = CompactedTopicWriter(reachable_connection(settings))
    try:
        # Collectors must widen their filters before any processor switches.
        writer.put(PUSHDOWN_FILTERS, rules.version.encode(), encoded, _JSON)
    except BusUnavailable as error:
        # This user may lack the right to change what collectors send: processors publish the filter as well.
        note(f"could not publish the pushdown filter, so the processors will: {error.reason}.")
    writer.put(RULES, CURRENT, value, headers)
