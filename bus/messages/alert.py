"""An alert as a message of the alerts topic."""

from dataclasses import dataclass
from datetime import UTC, datetime

from bus.messages.headers import Headers, cloud_event
from schemas.alert import Alert, encode_alert


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """Key, value and headers of the message."""

    key: bytes
    """Rule and host, so that the alerts of a rule for one host stay in order."""
    value: bytes
    headers: Headers


def alert_message(alert: Alert) -> AlertMessage:
    """Encode an alert, with its key and CloudEvents headers."""
    key = f"{alert.rule}\x1f{alert.host_id or alert.hostname}".encode("utf-8", "replace")
    stamp = datetime.fromtimestamp(alert.time / 1e9, UTC).isoformat().replace("+00:00", "Z")
    return AlertMessage(
        key, encode_alert(alert), cloud_event("lanner.alert", alert.id, alert.hostname or "lanner", stamp)
    )
