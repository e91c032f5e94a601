"""A search for the events around an alert, and its result."""

import uuid
from collections.abc import Generator
from dataclasses import dataclass

from lanner.recorder.batches import StoredBatch
from lanner.recorder.timeline import IsTrigger
from schemas.alert import Alert


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


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The batches to search, and what is known about the alert."""

    batches: Generator[StoredBatch]
    alert: Alert | None
    is_trigger: IsTrigger
    remarks: list[str]
    """Remarks on the source; the list may grow while batches are read."""
