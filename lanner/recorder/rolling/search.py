"""Finds an alert by its id, and the batches around it, in a recording."""

from pathlib import Path

from lanner.recorder.around.source import EARLIER_MS, EventSpan
from lanner.recorder.query import EventQuery, QueryResult, remarks_on
from lanner.recorder.rolling.alerts import stored_alerts
from lanner.recorder.rolling.events import RecordingHistory
from lanner.recorder.timeline import IsTrigger, by_id, by_number
from lanner.ruleset.load import load_or_fail
from lanner.ruleset.sources import find_rules
from lanner.settings import Settings
from schemas.alert import Alert


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
    span = EventSpan(query.time - query.before - EARLIER_MS, query.time)
    source = RecordingHistory(path)
    host = query.host or (None if alert is None else alert.host_id or None)
    batches = source.batches(span, host, remarks, lambda: False)
    return QueryResult(batches, alert, _trigger(query, alert, settings), remarks, alerts, source)


def _trigger(query: EventQuery, alert: Alert | None, settings: Settings) -> IsTrigger:
    if alert is not None:
        return by_number(alert.time, alert.event.get("evt.num"))
    rules = load_or_fail(settings, find_rules(settings), warnings=False).rules
    return by_id(query.id, frozenset(rule.name for rule in rules))
