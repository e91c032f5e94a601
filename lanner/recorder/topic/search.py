"""Finds an alert by its id, and the batches of its host in the retained events topic."""

from collections.abc import Callable
from typing import Any

from bus.connection import Connection
from bus.topics import ALERTS
from lanner.cli.terminal.output import StatusLine
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.recorder.around.source import EARLIER_MS, EventSpan
from lanner.recorder.query import EventQuery, QueryResult, remarks_on
from lanner.recorder.timeline import by_id, by_number
from lanner.recorder.topic.alerts import retained_alerts
from lanner.recorder.topic.messages import reader_of_alerts
from lanner.settings import Settings
from lanner.wiring.kafka import reachable_connection
from schemas.alert import Alert
from schemas.text.times import date_and_time_seconds


def from_topic(query: EventQuery, settings: Settings, stop: Callable[[], bool], status: StatusLine) -> QueryResult:
    """Find an alert, and the batches of its host from shortly before it on.

    Args:
        query: the query.
        settings: for the broker.
        stop: called between polls; True stops the search.
        status: shows the progress.

    Raises:
        BadInput: The alert is no longer retained, and no host was given.
        BusUnavailable: No broker, or no such topic.
    """
    need("processor", "confluent_kafka")
    search = _Search(query, reachable_connection(settings), stop)
    alert = search.alert(status)
    host = query.host or (None if alert is None else alert.host_id)
    if alert is not None and not host:
        raise BadInput(f"{query.id}: {alert.rule}: this alert isn't about a host; `lanner alerts list` shows it.")
    if host is None:
        when = date_and_time_seconds(query.time * 1_000_000)
        raise BadInput(
            f"{query.id}: no such alert of {when} is retained at {search.connection.bootstrap_servers}. "
            "--host HOST shows what a host did then; --file PATH searches a recording, such as that of `lanner run`."
        )
    trigger = by_id(query.id, frozenset())
    if alert is not None:
        trigger = by_number(alert.time, alert.event.get("evt.num"))
        search.remarks += remarks_on(alert)
    others = (
        each
        for each in retained_alerts(search.connection, query.time - query.before, query.time + query.after, stop)
        # With the alert, others are placed by their host's id.
        if query.includes(each) and (alert is not None or host in (each.host_id, each.hostname))
    )
    from lanner.recorder.topic.events import FleetHistory  # noqa: PLC0415  needs the broker's client

    span = EventSpan(query.time - query.before - EARLIER_MS, query.time)
    source = FleetHistory(search.connection)
    batches = source.batches(span, host, search.remarks, stop)
    return QueryResult(batches, alert, trigger, search.remarks, others, source)


class _Search:
    """A search in the topics of a broker."""

    def __init__(self, query: EventQuery, connection: Connection, stop: Callable[[], bool]) -> None:
        self.connection = connection
        self.remarks: list[str] = []
        self._query = query
        self._stop = stop

    def alert(self, status: StatusLine) -> Alert | None:
        """Search for the alert from its time on, because processors may have lagged."""
        from bus.clients.history import TopicHistory  # noqa: PLC0415  needs the broker's client

        alert_id = self._query.id.encode()
        read = reader_of_alerts(self.connection)
        past = TopicHistory(self.connection, self.connection.topic(ALERTS))
        try:
            for message in past.read(past.between(self._query.time - EARLIER_MS, None), self._stop):
                status.show(f"searching for the alert: {_time(message)}")
                if ("ce_id", alert_id) in (message.headers() or ()) and (alert := read(message)) is not None:
                    return alert
        finally:
            past.close()
            status.clear()
        return None


def _time(message: Any) -> str:
    return date_and_time_seconds(message.timestamp()[1] * 1_000_000)
