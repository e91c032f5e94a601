"""Decides the next request to the API server, so that a list stays current. Pure.

A list is read in pages and then watched from its version. A lost watch continues where it was; if the API server no
longer has that version (410 Gone), or a watch fails repeatedly, the list is read again.

Source: Kubernetes documentation, "API concepts": efficient detection of changes; client-go, tools/cache/reflector.go.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from collector.kubernetes.objects import KubernetesObject, Page, WatchEvent
from foundation.throttling import Backoff

GONE = 410
_TOO_MANY_REQUESTS = 429
_BACKOFF = Backoff(first=0.5, most=30.0, max_requested=120.0)
_MAX_FAILURES = 5
"""After so many failed watches in a row, the version may be one that the API server will never have."""
_SHORT_SECONDS = 1.0
"""A watch that ends sooner without an event counts as failed, so that requests don't follow each other at once."""

Reason = Literal["ended", "gone", "lost", "refused", "unusable"]
REASONS: tuple[Reason, ...] = ("ended", "gone", "lost", "refused", "unusable")


@dataclass(frozen=True, slots=True)
class ListRequest:
    """Request a page of the list."""

    continues: str
    """The token of the page; empty for the first one."""


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """Watch from a version on."""

    version: str


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """Why a request failed or a watch ended."""

    reason: Reason
    code: int = 0
    """The HTTP status; 0 if there was none."""
    retry_after: float | None = None
    """Seconds that the API server asks to wait."""
    text: str = ""


class Reflector:
    """The state of one resource."""

    def __init__(self, draw: Callable[[], float]) -> None:
        """Begin without a list. draw: returns a random number from 0 to 1, for jitter."""
        self._draw = draw
        self._version = ""
        self._continues = ""
        self._items: list[KubernetesObject] = []
        self._failures = 0
        self._has_events = False
        self.lists = 0
        """Lists that were read to their ends."""
        self.restarts: Counter[Reason] = Counter()
        """Watches that ended, by reason."""

    def next_request(self) -> ListRequest | WatchRequest:
        """Return what to request."""
        self._has_events = False
        return WatchRequest(self._version) if self._version else ListRequest(self._continues)

    def take_page(self, page: Page) -> list[KubernetesObject] | None:
        """Take a page; return the whole list if it was the last one."""
        self._items += page.items
        self._continues = page.continues
        if page.continues:
            return None
        items, self._items = self._items, []
        self._version = page.version
        self._failures = 0
        self.lists += 1
        return items

    def take_event(self, event: WatchEvent) -> RequestFailure | None:
        """Take an event of a watch; return the failure if it reports one."""
        if event.status is not None:
            reason: Reason = "gone" if event.status.code == GONE else "refused"
            return RequestFailure(reason, event.status.code, text=event.status.message)
        if event.version:
            self._version = event.version
        self._has_events = True
        self._failures = 0
        return None

    def ended(self, seconds: float) -> RequestFailure | None:
        """Take the regular end of a watch; return a failure if it was too short to be one."""
        if self._has_events or seconds >= _SHORT_SECONDS:
            self.restarts["ended"] += 1
            self._failures = 0
            return None
        return RequestFailure("ended", text="the watch ended at once")

    def failed(self, failure: RequestFailure) -> float:
        """Take a failure; return the seconds to wait before the next request."""
        is_watch = bool(self._version)
        if is_watch:
            self.restarts[failure.reason] += 1
        self._failures += 1
        is_gone = failure.reason == "gone"
        if is_gone or not is_watch or self._failures >= _MAX_FAILURES:
            # An unfinished list starts over as well: its token may be what failed.
            self._version, self._continues, self._items = "", "", []
        if is_gone and self._failures == 1:
            return self._draw() * _BACKOFF.first
        requested = failure.retry_after if failure.code in (_TOO_MANY_REQUESTS, 503) else None
        return _BACKOFF.seconds(self._failures, requested, self._draw())
