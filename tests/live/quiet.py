"""Which alerts come from the test's own work: others may use the machine at the same time."""

import os
from collections.abc import Iterable

from schemas.alert import Alert

ANCESTORS = ("proc.ppid", *(f"proc.apid[{level}]" for level in range(2, 9)))
PACKAGES = "Launch Package Management Process in Container"


def ours(alerts: Iterable[Alert]) -> list[Alert]:
    """Give the alerts whose process this one started, or may have: those where the ancestry isn't known to the top."""
    return [alert for alert in alerts if not _is_foreign(alert)]


def noise(alerts: Iterable[Alert]) -> list[str]:
    """Give the lines that ordinary work must not have made: all but package management in a container."""
    return [f"{alert.rule}: {alert.output}" for alert in ours(alerts) if not _is_allowed(alert)]


def _is_foreign(alert: Alert) -> bool:
    ancestors = {alert.event.get(name) for name in ANCESTORS}
    return os.getpid() not in ancestors and 1 in ancestors


def _is_allowed(alert: Alert) -> bool:
    return alert.rule == PACKAGES and alert.event.get("container.id") != "host"
