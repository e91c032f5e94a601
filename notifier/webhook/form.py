"""What a webhook's formats have in common: they make a body, and know what an answer means."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from notifier.delivery.http_errors import judged
from notifier.delivery.outcome import Delivered, RoutedAlert, SendOutcome, Undeliverable
from notifier.formats.text import LineStyle, json_line
from notifier.webhook.answer import Answer
from schemas.errors import LannerError

MOST_BYTES = 512 * 1024
"""Of a request that holds several alerts; one alone may be longer."""
JSON = "application/json"


class BodyError(LannerError):
    """No body can be made of an alert; the message says why."""


@dataclass(frozen=True, slots=True)
class Body:
    """What is posted, and how many of the alerts are in it."""

    data: bytes
    count: int = 1


class WebhookFormat(Protocol):
    """One format."""

    @property
    def most(self) -> int:
        """How many alerts may go together."""

    @property
    def content_type(self) -> str:
        """Of the body."""

    @property
    def scheme(self) -> str:
        """Of the Authorization header."""

    def body(self, parcels: Sequence[RoutedAlert], now: int) -> Body:
        """Make a body of the first parcels; now is the wall clock, ns. Raises Unfit."""

    def meaning(self, answer: Answer, count: int, said: str) -> SendOutcome:
        """Say what an answer means for so many alerts; said is what of it may be shown."""


@dataclass(frozen=True, slots=True)
class FalcoFormat:
    """Falco's JSON with `id`, one alert a request, as Falco's own http_output posts it."""

    most: int = 1
    content_type: str = JSON
    scheme: str = "Bearer"

    def body(self, parcels: Sequence[RoutedAlert], now: int) -> Body:  # noqa: ARG002
        """Make the body."""
        return Body(json_line(parcels[0].told, LineStyle()).encode())

    def meaning(self, answer: Answer, count: int, said: str) -> SendOutcome:
        """Go by the status alone."""
        return by_status(answer, count, said)


def by_status(answer: Answer, count: int, said: str) -> SendOutcome:
    """Say what an answer's status means."""
    if 300 <= answer.status < 400:
        said = "a redirect, which is not followed: set the address that it leads to"
    outcome = judged(answer.status, answer.headers.get("retry-after"), time.time(), said)
    if outcome is None:
        return Delivered(count)
    return replace(outcome, together=count) if isinstance(outcome, Undeliverable) else outcome


def fitted(pieces: Sequence[bytes]) -> int:
    """Give how many of the pieces may go together: at least one."""
    size = 0
    for place, piece in enumerate(pieces):
        size += len(piece) + 1
        if size > MOST_BYTES and place:
            return place
    return len(pieces)
