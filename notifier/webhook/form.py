"""The protocol of webhook formats, which create a body and interpret the answer; and Falco's format."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from notifier.delivery.http_errors import status_outcome
from notifier.delivery.outcome import Delivered, RoutedAlert, SendOutcome, Undeliverable
from notifier.formats.text import LineStyle, json_line
from schemas.errors import LannerError

MOST_BYTES = 512 * 1024
"""Maximum body of a request with several alerts; a single alert may be longer."""
JSON = "application/json"


class BodyError(LannerError):
    """No body can be created for an alert; the message states the reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, as far as it was read."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    """Its beginning."""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request, and how many alerts it holds."""

    data: bytes
    count: int = 1


class WebhookFormat(Protocol):
    """One format of requests and answers."""

    @property
    def batch_size(self) -> int:
        """Maximum number of alerts in one request."""

    @property
    def content_type(self) -> str:
        """Content type of the body."""

    @property
    def scheme(self) -> str:
        """Scheme of the Authorization header."""

    def body(self, alerts: Sequence[RoutedAlert], now: int) -> Body:
        """Return a body with the first alerts; now is the wall clock, ns. Raises BodyError."""

    def outcome(self, answer: Answer, count: int, detail: str) -> SendOutcome:
        """Return what an answer means for the alerts.

        Args:
            answer: the answer.
            count: number of alerts in the request.
            detail: the part of the answer's body that a reason may quote.
        """


@dataclass(frozen=True, slots=True)
class FalcoFormat:
    """Falco's JSON with `id`, one alert per request, as Falco's http_output posts it."""

    batch_size: int = 1
    content_type: str = JSON
    scheme: str = "Bearer"

    def body(self, alerts: Sequence[RoutedAlert], now: int) -> Body:  # noqa: ARG002
        """Return the alert as JSON."""
        return Body(json_line(alerts[0].rendered, LineStyle()).encode())

    def outcome(self, answer: Answer, count: int, detail: str) -> SendOutcome:
        """Interpret the status alone."""
        return by_status(answer, count, detail)


def by_status(answer: Answer, count: int, detail: str) -> SendOutcome:
    """Return what an answer's status means for the alerts of a request."""
    if 300 <= answer.status < 400:
        detail = "redirects are not followed; set the URL that it leads to"
    outcome = status_outcome(answer.status, answer.headers.get("retry-after"), time.time(), detail)
    if outcome is None:
        return Delivered(count)
    return replace(outcome, together=count) if isinstance(outcome, Undeliverable) else outcome


def fitted(pieces: Sequence[bytes]) -> int:
    """Return how many of the pieces fit into one request: at least one."""
    size = 0
    for index, piece in enumerate(pieces):
        size += len(piece) + 1
        if size > MOST_BYTES and index:
            return index
    return len(pieces)
