"""How grave an alert is."""

from enum import IntEnum


class Priority(IntEnum):
    """Falco's eight priorities, which are syslog's severities; the gravest is the smallest."""

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
    """Read a priority: its whole name or "info", in any case; None where it is neither.

    Args:
        text: for example "Warning" or "INFO".
    """
    name = text.upper()
    return Priority.INFORMATIONAL if name == "INFO" else Priority.__members__.get(name)
