"""What is looked for round an alert, and where it was found."""

import uuid
from collections.abc import Generator
from dataclasses import dataclass

from lanner.recorder.batches import StoredBatch
from lanner.recorder.timeline import IsTrigger
from schemas.alert import Alert


@dataclass(frozen=True, slots=True)
class EventQuery:
    """What is looked for."""

    id: str
    host: str | None
    before: int
    """ms."""
    after: int
    limit: int

    @property
    def time(self) -> int:
        """Event time of the alert, ms, as its id says."""
        return uuid.UUID(self.id).int >> 80


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The batches to look at, and what is known of the alert."""

    batches: Generator[StoredBatch]
    alert: Alert | None
    is_trigger: IsTrigger
    remarks: list[str]
    """What is to be said of where they come from; may grow while they are read."""
