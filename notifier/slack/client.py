"""Slack's two ways in, each with what its answers mean for an alert."""

import re
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from slack_sdk import WebClient
from slack_sdk.errors import SlackClientError, SlackRequestError
from slack_sdk.webhook import WebhookClient

from notifier.delivery.http_errors import in_words, judged, retry_seconds
from notifier.delivery.outcome import Delivered, RetryLater, SendOutcome, Undeliverable
from notifier.slack.blocks import Message

TIMEOUT_SECONDS = 10
API = "https://slack.com/api/"
_WORD = re.compile(r"[a-z_]{1,60}", re.ASCII)
_REFUSALS = frozenset(
    {
        *("invalid_blocks", "invalid_blocks_format", "invalid_attachments", "invalid_arguments", "invalid_payload"),
        *("msg_too_long", "msg_blocks_too_long", "no_text", "too_many_attachments", "invalid_json"),
    }
)
"""What Slack says of a message that it will never take. Source: docs.slack.dev, chat.postMessage, errors."""
GONE = frozenset(
    {
        *("message_not_found", "thread_not_found", "cannot_reply_to_message"),
        *("cant_update_message", "edit_window_closed"),
    }
)
"""What Slack says of a message that can't be threaded under or edited any more. Source: as above, and chat.update."""
_NO_SUCH_CHANNEL = frozenset({"channel_not_found", "is_archived", "not_in_channel"})


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that stands in a channel, so that it can be edited and threaded under."""

    channel: str
    """Its id, which editing wants instead of its name."""
    time: str
    """Slack's `ts`, which identifies a message."""


class SlackClient(Protocol):
    """What both ways in can do."""

    can_edit: bool

    def post(self, message: Message, channel: str | None, under: Posted | None) -> tuple[SendOutcome, Posted | None]:
        """Post a message: to a channel, or in the thread under another one."""

    def edit(self, message: Message, posted: Posted) -> SendOutcome:
        """Put a message in the place of one that stands."""


@dataclass(slots=True)
class Webhook:
    """An incoming webhook: one channel, no editing; its address is a secret."""

    url: str = field(repr=False)
    can_edit: bool = False

    def post(self, message: Message, channel: str | None, under: Posted | None) -> tuple[SendOutcome, Posted | None]:  # noqa: ARG002
        """Post a message to the webhook's own channel."""
        client = WebhookClient(self.url, timeout=TIMEOUT_SECONDS, retry_handlers=[])
        try:
            answer = client.send_dict(message)
        except (SlackClientError, OSError, ValueError, EOFError) as error:
            return RetryLater(in_words(error)), None
        except Exception as error:  # noqa: BLE001  http.client's failures share no base with others
            return RetryLater(in_words(error)), None
        words = _WORD.fullmatch(answer.body.strip()) if isinstance(answer.body, str) else None
        word = words.group() if words else ""
        headers = {name.lower(): value for name, value in answer.headers.items()}
        outcome = judged(answer.status_code, headers.get("retry-after"), time.time(), word)
        return outcome or Delivered(), None

    def edit(self, message: Message, posted: Posted) -> SendOutcome:  # noqa: ARG002
        """Refuse: a webhook can't edit."""
        return Undeliverable("a webhook can't edit")


class WebApi:
    """`chat.postMessage` and `chat.update`, by a bot's token."""

    can_edit = True

    def __init__(self, token: str, channel: str, *, base_url: str = API) -> None:
        """Begin; channel is for alerts whose route names none."""
        self._client = WebClient(token, base_url=base_url, timeout=TIMEOUT_SECONDS, retry_handlers=[])
        self._channel = channel

    def post(self, message: Message, channel: str | None, under: Posted | None) -> tuple[SendOutcome, Posted | None]:
        """Post a message: to a channel, or in the thread under another one."""
        body: dict[str, Any] = {**message, "channel": channel or self._channel}
        if under:
            body |= {"channel": under.channel, "thread_ts": under.time}
        outcome, answer = self._call("chat.postMessage", body, chosen=channel)
        if not isinstance(outcome, Delivered):
            return outcome, None
        place, at = answer.get("channel"), answer.get("ts")
        return outcome, Posted(place, at) if isinstance(place, str) and isinstance(at, str) else None

    def edit(self, message: Message, posted: Posted) -> SendOutcome:
        """Put a message in the place of one that stands."""
        body = {**message, "channel": posted.channel, "ts": posted.time}
        return self._call("chat.update", body, chosen=None)[0]

    def _call(self, method: str, body: dict[str, Any], *, chosen: str | None) -> tuple[SendOutcome, dict[str, Any]]:
        try:
            answer = self._client.api_call(method, json=body)
        except SlackRequestError:
            return RetryLater("it gave an answer that is none of Slack's"), {}
        except SlackClientError as error:
            response: Any = getattr(error, "response", None)
            return (_meaning(response, chosen) if response is not None else RetryLater(in_words(error))), {}
        except Exception as error:  # noqa: BLE001  a far end's bytes may make the library raise anything
            return RetryLater(in_words(error)), {}
        return Delivered(), answer.data if isinstance(answer.data, dict) else {}


def _meaning(response: Any, chosen: str | None) -> SendOutcome:
    headers = {name.lower(): value for name, value in (response.headers or {}).items()}
    data = response.data if isinstance(response.data, dict) else {}
    found = _WORD.fullmatch(str(data.get("error", "")))
    word = found.group() if found else ""
    if response.status_code != 200:
        return judged(response.status_code, headers.get("retry-after"), time.time(), word) or RetryLater(
            "no Slack answer"
        )
    if word in _REFUSALS | GONE:
        return Undeliverable(word)
    if word in _NO_SUCH_CHANNEL and chosen:
        # The sink works; the route's channel doesn't. The alert can be replayed once the route is right.
        return Undeliverable(f"{word}: {chosen}")
    return RetryLater(word or "an answer without ok", retry_seconds(headers.get("retry-after"), time.time()))
