"""Counts of what the intake received."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class IntakeStats:
    """Counts of requests with an alert."""

    taken: int = 0
    refused: int = 0
    """Wrong token, not an alert, or too large."""
    failed: int = 0
    """The bus did not store it in time. The sender decides whether to retry."""
    closed: Counter[str] = field(default_factory=Counter)
    """Connections that the server closed, by reason."""
