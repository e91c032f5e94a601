"""Counts of what the intake received."""

from dataclasses import dataclass


@dataclass(slots=True)
class IntakeStats:
    """Counts of requests with an alert."""

    taken: int = 0
    refused: int = 0
    """Wrong token, not an alert, or too large."""
    failed: int = 0
    """The bus did not store it in time. The sender decides whether to retry."""
