"""The address that opens an alert in a SIEM: a template with the alert's values, each percent-encoded."""

from urllib.parse import quote

from lanner.console.times import time_text
from lanner.settings.forms.values import PLACEHOLDER
from schemas.alert import Alert

_AROUND = 5 * 60_000_000_000
_SECOND = 1_000_000_000


def siem_address(template: str, alert: Alert) -> str:
    """Return the address.

    Args:
        template: `console.siem_url`, whose placeholders are known.
        alert: whose values it gets; a missing one is empty.
    """
    since, until = alert.time - _AROUND, alert.time + _AROUND
    values = {
        "id": alert.id,
        "rule": alert.rule,
        "priority": alert.priority,
        "host": alert.hostname or alert.host_id,
        "user": alert.event.get("user.name"),
        "container": alert.event.get("container.id"),
        "time": time_text(alert.time // 1000),
        "since": time_text(since // 1000),
        "until": time_text(until // 1000),
        "since_s": since // _SECOND,
        "until_s": until // _SECOND,
    }

    def encoded(name: str) -> str:
        value = values[name]
        return "" if value is None else quote(str(value), safe="", errors="replace")

    return PLACEHOLDER.sub(lambda match: encoded(match[1]), template)
