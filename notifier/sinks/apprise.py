"""A sink for the services of the Apprise library: an alert is delivered when all of them accepted it."""

import logging
import re
from collections.abc import Sequence

import apprise

from foundation.errors import LannerError
from notifier.formats.falco import wording
from notifier.sink import Delivered, RetryLater, RoutedAlert, SendOutcome, Sink
from schemas.catalog.priorities import SEVERITY

_HTTP_STATUS = re.compile(r"\berror=(\d{3})\b", re.ASCII)


class BadService(LannerError):
    """A URL that Apprise can't use; the message does not quote it."""


class AppriseSink(Sink):
    """Sends to one service after the other; one that accepted an alert doesn't get it again while another fails."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Parse the URLs of the services. Raises BadService."""
        self._status = _Status()
        log = logging.getLogger("apprise")
        # Its messages quote URLs and bodies, so they are not logged.
        log.handlers, log.propagate = [self._status], False
        log.setLevel(logging.WARNING)
        asset = apprise.AppriseAsset(
            app_id="Lanner",
            app_desc="Lanner",
            app_url="",
            storage_mode=apprise.PersistentStoreMode.MEMORY,
            async_mode=False,
        )
        self._services: list[apprise.NotifyBase] = []
        for index, url in enumerate(urls):
            service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
            if not isinstance(service, apprise.NotifyBase):
                raise BadService(f"URL {index + 1} is not one that Apprise supports.")
            self._services.append(service)
        self._accepted: set[int] = set()
        """Indexes of the services that accepted the alert `_accepted_id`."""
        self._accepted_id = ""

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Send the first alert to every service that has not accepted it yet."""
        alert = alerts[0].rendered
        if self._accepted_id != alert.id:
            self._accepted_id, self._accepted = alert.id, set()
        title, body = wording(alert)
        failed: list[str] = []
        for index, service in enumerate(self._services):
            if index in self._accepted:
                continue
            self._status.text = ""
            if _notify(service, title=title, body=body, kind=_kind(alert.priority)):
                self._accepted.add(index)
            else:
                failed.append(f"{service.service_name} (URL {index + 1}{self._status.text})")
        return RetryLater(f"not accepted by {', '.join(failed)}") if failed else Delivered()


class _Status(logging.Handler):
    """Extracts the HTTP status from Apprise's log messages."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        found = _HTTP_STATUS.search(record.getMessage())
        if found:
            self.text = f", HTTP {found.group(1)}"


def _notify(service: apprise.NotifyBase, *, title: str, body: str, kind: apprise.NotifyType) -> bool:
    try:
        return bool(service.notify(body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT))
    except Exception:  # noqa: BLE001  each of a hundred services has its own exceptions
        return False


def _kind(priority: str) -> apprise.NotifyType:
    severity = SEVERITY[priority]
    if severity <= SEVERITY["Error"]:
        return apprise.NotifyType.FAILURE
    return apprise.NotifyType.WARNING if severity == SEVERITY["Warning"] else apprise.NotifyType.INFO
