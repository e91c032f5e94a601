"""Syslog severities of Falco's priorities."""

from collections.abc import Mapping
from types import MappingProxyType

SEVERITY: Mapping[str, int] = MappingProxyType({
    "Emergency": 0,
    "Alert": 1,
    "Critical": 2,
    "Error": 3,
    "Warning": 4,
    "Notice": 5,
    "Informational": 6,
    "Debug": 7,
})  # fmt: skip
"""Severity by priority; 0 is the highest. Falco's priorities are syslog's severities by name.

Source: RFC 5424, section 6.2.1.
"""
