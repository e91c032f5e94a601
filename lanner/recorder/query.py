"""A search for the events around an alert, and its result."""

import uuid
from collections.abc import Generator, Iterable
from dataclasses import dataclass

from lanner.errors import BadInput
from lanner.recorder.around.source import EventHistory
from lanner.recorder.batches import StoredBatch
from lanner.recorder.timeline import IsTrigger
from schemas.alert import Alert
from schemas.text.times import date_and_time_seconds

_UUID_VERSION = 8


def parse_alert_id(text: str) -> str:
    """Return an alert's id in its usual notation. Raises BadInput."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        found = None
    if found is None or found.version != _UUID_VERSION:
        raise BadInput(
            f"{text}: not a valid alert id. `--format json` and `lanner alerts list` show the id of each alert."
        )
    return str(found)


@dataclass(frozen=True, slots=True)
class EventQuery:
    """What to search for."""

    id: str
    host: str | None
    before: int
    """ms."""
    after: int
    limit: int

    @property
    def time(self) -> int:
        """Event time of the alert, ms, from its id."""
        return uuid.UUID(self.id).int >> 80

    def includes(self, alert: Alert) -> bool:
        """Return whether an alert is of the time, and of the host if one is given."""
        milliseconds = alert.time // 1_000_000 - self.time
        return -self.before <= milliseconds <= self.after and self.host in (None, alert.hostname, alert.host_id)


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The batches to search, and what is known about the alert."""

    batches: Generator[StoredBatch]
    alert: Alert | None
    is_trigger: IsTrigger
    remarks: list[str]
    """Remarks on the source; the list may grow while batches are read."""
    alerts: Iterable[Alert] = ()
    """All alerts of this time; searched for when they are read."""
    source: EventHistory | None = None
    """Where the other ends of connections are searched; None to search none."""


def remarks_on(alert: Alert) -> list[str]:
    """Return remarks on an alert's earlier events."""
    remarks = []
    if alert.repeats is not None:
        remarks.append(f"This alert summarizes repeats; the first one: lanner context {alert.repeats.first_id}")
    if alert.window is not None:
        first = date_and_time_seconds(alert.window.first)
        remarks.append(f"The rule counted {alert.window.count:,} events since {first}; a longer --before shows them.")
    return remarks
