"""Message headers: what a reader may need before it decodes the value.

Source: CloudEvents 1.0, Kafka protocol binding, binary mode; any tool that supports it can route Lanner's messages.
"""

Headers = list[tuple[str, str | bytes | None]]

AVRO = b"avro/binary"
SENT = "lanner_sent"
"""When a batch was passed to the client, wall clock, ns; the batch itself was encoded earlier."""
CLOCK = "lanner_clock"
"""How far the broker's clock is ahead of the host's, ns; present once the collector has measured it."""


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
