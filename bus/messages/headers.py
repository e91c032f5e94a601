"""Message headers: what a reader may want to know before it decodes.

Source: CloudEvents 1.0, Kafka protocol binding, binary mode: any tool that speaks it can route our messages.
"""

Headers = list[tuple[str, str | bytes | None]]

AVRO = b"avro/binary"
SENT = "lanner_sent"
"""Wall clock, ns, at which a batch was given to the client: the batch itself was encoded before."""
CLOCK = "lanner_clock"
"""By how much the broker's clock is ahead of the host's, ns, once the collector knows."""


def cloud_event(kind: str, identity: str, source: str, time: str) -> Headers:
    """Give the headers of one of our messages.

    Args:
        kind: what it is, such as ``lanner.alert``.
        identity: unique within the source.
        source: the host that it came from.
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
