"""Priorities of rules and alerts."""

from enum import IntEnum


class Priority(IntEnum):
    """Falco's eight priorities, equal to syslog's severities; the most severe is the smallest."""

    EMERGENCY = 0
    ALERT = 1
    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFORMATIONAL = 6
    DEBUG = 7

    def __str__(self) -> str:
        return self.name.capitalize()


def parse_priority(text: str) -> Priority | None:
    """Parse a priority's full name or "info", ignoring case; None if the text is neither.

    Args:
        text: for example "Warning" or "INFO".
    """
    name = text.upper()
    return Priority.INFORMATIONAL if name == "INFO" else Priority.__members__.get(name)
