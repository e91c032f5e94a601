"""Which alerts ordinary work may raise."""

from collections.abc import Iterable

from schemas.alert import Alert

PACKAGES = "Launch Package Management Process in Container"
ACCOUNTS = "Manage accounts"


def noise(alerts: Iterable[Alert]) -> list[str]:
    """Return the alerts that ordinary work must not raise: all but packages in a container and accounts of the host."""
    return [f"{alert.rule}: {alert.output}" for alert in alerts if not _is_allowed(alert)]


def _is_allowed(alert: Alert) -> bool:
    return alert.rule == (ACCOUNTS if alert.event.get("container.id") == "host" else PACKAGES)
