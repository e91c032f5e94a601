"""Finds an alert by its id, and the batches around it, in a recording."""

from collections.abc import Generator
from pathlib import Path

from lanner.recorder.batches import StoredBatch, from_files
from lanner.recorder.query import EventQuery, QueryResult, remarks_on
from lanner.recorder.rolling.alerts import stored_alerts
from lanner.recorder.timeline import IsTrigger, by_id, by_number
from lanner.ruleset.load import load_or_fail
from lanner.ruleset.sources import find_rules
from lanner.settings import Settings
from schemas.alert import Alert
from schemas.text.times import date_and_time_seconds

_EARLIER_MS = 30_000
"""Batches state every 15 s what is collected."""


def from_recording(query: EventQuery, path: Path, settings: Settings) -> QueryResult:
    """Find an alert, and the batches of its host.

    Args:
        query: the query.
        path: the folder of a recording, or one file of events, which has no alerts.
        settings: for the rules that may have raised an alert that is not stored.

    Raises:
        BadInput: The recording or the rules can't be read.
    """
    alerts = [] if path.is_file() else [alert for alert in stored_alerts(path) if query.includes(alert)]
    alert = next((each for each in alerts if each.id == query.id), None)
    remarks = [] if alert is None else remarks_on(alert)
    return QueryResult(_batches(query, path, remarks), alert, _trigger(query, alert, settings), remarks, alerts)


def _trigger(query: EventQuery, alert: Alert | None, settings: Settings) -> IsTrigger:
    if alert is not None:
        return by_number(alert.time, alert.event.get("evt.num"))
    rules = load_or_fail(settings, find_rules(settings), warnings=False).rules
    return by_id(query.id, frozenset(rule.name for rule in rules))


def _batches(query: EventQuery, path: Path, remarks: list[str]) -> Generator[StoredBatch]:
    first = last = 0
    try:
        for stored in from_files((path,), (query.time - query.before - _EARLIER_MS) * 1_000_000):
            first, last = first or stored.appended, stored.appended
            if query.host in (None, stored.batch.hostname, stored.batch.host_id):
                yield stored
    finally:
        times = (date_and_time_seconds(time_ms * 1_000_000) for time_ms in (first, last))
        if first > query.time:
            remarks.append(f"The recording begins at {next(times)}, after the alert.")
        elif last < query.time:
            remarks.append(f"The recording is from {' to '.join(times)}, before the alert.")
