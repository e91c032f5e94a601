"""Priorities of rules and alerts: Falco's, which are syslog's severities by name and number.

Source: RFC 5424, section 6.2.1.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Literal, TypeVar, get_args

T = TypeVar("T")
PriorityName = Literal["emergency", "alert", "critical", "error", "warning", "notice", "informational", "info", "debug"]
"""A priority as settings and options name it."""


class Priority(IntEnum):
    """Falco's eight priorities; the most severe is the smallest."""

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


BY_NAME: Mapping[str, Priority] = MappingProxyType(
    {name: Priority["INFORMATIONAL" if name == "info" else name.upper()] for name in get_args(PriorityName)}
)
"""By name, in the order of `PriorityName`."""


def parse_priority(text: str) -> Priority | None:
    """Parse a priority's name, ignoring case; None if the text is not one."""
    return BY_NAME.get(text.lower())


def by_priority(*values: T) -> Mapping[str, T]:
    """Return eight values by an alert's priority; the first is that of an emergency."""
    return MappingProxyType(dict(zip(map(str, Priority), values, strict=True)))


SEVERITY: Mapping[str, int] = by_priority(*(priority.value for priority in Priority))
"""Syslog's severity by an alert's priority; 0 is the highest."""
