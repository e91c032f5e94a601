"""What the feed reads and writes: topics of a fleet, or files and a queue of one host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lanner.console.store.marks import Mark
from schemas.alert import Alert


class AlertSource(Protocol):
    """Where alerts come from."""

    def read(self, seconds: float) -> Sequence[Alert]:
        """Return the next alerts; wait at most so many seconds. Raises OSError if it can't be read now."""

    def positions(self) -> Mapping[int, int]:
        """Return, by partition, the offset after what was read."""

    def lag(self) -> Mapping[tuple[str, ...], int]:
        """Return, by topic and partition, the messages that were not read yet; from any thread."""

    def close(self) -> None:
        """Stop reading."""


class MarkLog(Protocol):
    """Where what people decided is stored."""

    def read_all(self) -> Sequence[Mark] | None:
        """Return all marks, once; None if they are not known yet."""

    def read_new(self) -> Sequence[Mark]:
        """Return the marks since the last call."""

    def put(self, mark: Mark) -> None:
        """Store a mark durably. Raises OSError."""

    def close(self) -> None:
        """Stop reading and writing."""


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody did, for the audit log."""

    at: int
    """ns since the epoch."""
    name: str
    role: str
    method: str
    address: str
    """The client's address."""
    action: str
    """sign_in, sign_in_failed, sign_out, acknowledge, assign, comment, mute ..."""
    subject: str = ""
    value: str = ""


class AuditLog(Protocol):
    """Where actions are recorded."""

    def record(self, action: Action) -> None:
        """Record an action durably. Raises OSError."""

    def close(self) -> None:
        """Stop writing."""
