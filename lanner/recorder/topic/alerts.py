"""The retained alerts of a fleet in a time range."""

from collections.abc import Callable, Iterator

from bus.connection import Connection
from bus.topics import ALERTS
from lanner.installation.libraries import need
from lanner.recorder.topic.messages import reader_of_alerts
from schemas.alert import Alert

MARGIN_MS = 60_000
"""An alert is published after its event happened; much later if processors lagged."""


def retained_alerts(
    connection: Connection, since: int, until: int | None, stop: Callable[[], bool]
) -> Iterator[Alert]:  # fmt: skip
    """Yield alerts in the order in which processors published them; some twice, and some of other times.

    Args:
        connection: the broker.
        since: ms since the epoch; alerts published from a little earlier on.
        until: likewise; None for all later ones, because processors may have lagged.
        stop: called between messages; True ends the iteration.

    Raises:
        BusUnavailable: No broker, or no such topic.
    """
    need("processor", "confluent_kafka")
    from bus.clients.history import TopicHistory  # noqa: PLC0415  needs the broker's client

    past = TopicHistory(connection, connection.topic(ALERTS))
    read = reader_of_alerts(connection)
    try:
        bounds = past.between(since - MARGIN_MS, None if until is None else until + MARGIN_MS)
        yield from filter(None, map(read, past.read_in_order(bounds, stop)))
    finally:
        past.close()
