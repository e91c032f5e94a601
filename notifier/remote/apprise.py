"""The services of the Apprise library as one sink: an alert is delivered when all of them took it."""

import logging
import re
from collections.abc import Sequence

import apprise

from notifier.delivery.outcome import Delivered, RetryLater, RoutedAlert, SendOutcome
from notifier.formats.severity import SEVERITY
from schemas.alert import Alert
from schemas.errors import LannerError
from schemas.text.printable import printable

BODY_LENGTH = 1500
"""Within what most services take; the facts that matter stand in front."""
TITLE_LENGTH = 200
_HTTP_STATUS = re.compile(r"\berror=(\d{3})\b", re.ASCII)
_JOINER = "\u2060"
_ACTIVE = re.compile(r"(?<=[@<#`*_~])|(?<=\])(?=\()|(?<=:)(?=/)|(?<=[\w])\.(?=[a-zA-Z])", re.ASCII)
"""Behind what a service reads as a mention, a tag or formatting; inside what it makes a link of."""


class BadService(LannerError):
    """An address that Apprise can't use; the message quotes nothing of it."""


class AppriseSink:
    """Asks one service after the other; one that took an alert isn't asked again while another fails."""

    most = 1

    def __init__(self, urls: Sequence[str]) -> None:
        """Begin. Raises BadService."""
        self._status = _Status()
        log = logging.getLogger("apprise")
        # Its messages quote addresses and bodies: they go no further.
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
        for place, url in enumerate(urls):
            service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
            if not isinstance(service, apprise.NotifyBase):
                raise BadService(f"address {place + 1} is none that Apprise knows.")
            self._services.append(service)
        self._took: set[int] = set()
        self._taken_of = ""

    def offer(self, parcels: Sequence[RoutedAlert]) -> SendOutcome:
        """Tell the first alert to every service that hasn't got it yet."""
        alert = parcels[0].told
        if self._taken_of != alert.id:
            self._taken_of, self._took = alert.id, set()
        title, body = wording(alert)
        failed: list[str] = []
        for place, service in enumerate(self._services):
            if place in self._took:
                continue
            self._status.seen = ""
            if _told(service, title=title, body=body, kind=_kind(alert.priority)):
                self._took.add(place)
            else:
                failed.append(f"{service.service_name} (address {place + 1}{self._status.seen})")
        return RetryLater(f"not taken by {', '.join(failed)}") if failed else Delivered()

    def tend(self) -> None:
        """Nothing to look after."""

    def reopen(self) -> None:
        """Nothing to open anew: every message has its own connection."""

    def close(self) -> None:
        """Nothing to let go of."""


class _Status(logging.Handler):
    """Finds in Apprise's messages the one thing that is to be told of a failure."""

    seen = ""

    def emit(self, record: logging.LogRecord) -> None:
        found = _HTTP_STATUS.search(record.getMessage())
        if found:
            self.seen = f", HTTP {found.group(1)}"


def wording(alert: Alert) -> tuple[str, str]:
    """Give title and body."""
    inside = alert.event.get("container.id", "host") != "host"
    where = f"{alert.hostname} / {alert.event.get('container.name', '?')}" if inside else alert.hostname
    title = harmless(f"{alert.priority} | {alert.rule} | {where}", TITLE_LENGTH)
    return title, harmless(alert.output, BODY_LENGTH) + f"\nlanner context {harmless(alert.id, 64)}"


def harmless(text: str, most: int) -> str:
    """Give a text that mentions nobody and becomes no link: invisible joiners break up what services act on."""
    return _ACTIVE.sub(lambda found: found.group() + _JOINER, printable(text[:most]))[:most]


def _told(service: apprise.NotifyBase, *, title: str, body: str, kind: apprise.NotifyType) -> bool:
    try:
        return bool(service.notify(body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT))
    except Exception:  # noqa: BLE001  a hundred services, each with failures of its own
        return False


def _kind(priority: str) -> apprise.NotifyType:
    grade = SEVERITY[priority]
    if grade <= SEVERITY["Error"]:
        return apprise.NotifyType.FAILURE
    return apprise.NotifyType.WARNING if grade == SEVERITY["Warning"] else apprise.NotifyType.INFO
