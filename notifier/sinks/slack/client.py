"""Slack's two APIs, incoming webhooks and the Web API, with the meaning of their answers for an alert."""

import re
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from slack_sdk import WebClient
from slack_sdk.errors import SlackClientError, SlackRequestError
from slack_sdk.webhook import WebhookClient

from notifier.sink import Delivered, RetryLater, SendOutcome, Undeliverable
from notifier.sinks.http import failure_reason, retry_seconds, status_outcome
from notifier.sinks.slack.blocks import Message

TIMEOUT_SECONDS = 10
API = "https://slack.com/api/"
_WORD = re.compile(r"[a-z_]{1,60}", re.ASCII)
_REFUSALS = frozenset(
    {
        *("invalid_blocks", "invalid_blocks_format", "invalid_attachments", "invalid_arguments", "invalid_payload"),
        *("msg_too_long", "msg_blocks_too_long", "no_text", "too_many_attachments", "invalid_json"),
    }
)
"""Errors for a message that Slack will never accept. Source: docs.slack.dev, chat.postMessage, errors."""
GONE = frozenset(
    {
        *("message_not_found", "thread_not_found", "cannot_reply_to_message"),
        *("cant_update_message", "edit_window_closed"),
    }
)
"""Errors for a message that can no longer be replied to or edited. Source: as above, and chat.update."""
_NO_SUCH_CHANNEL = frozenset({"channel_not_found", "is_archived", "not_in_channel"})


@dataclass(frozen=True, slots=True)
class MessageRef:
    """Identifies a message in Slack, to edit it or reply in its thread."""

    channel: str
    """Its id; edits don't accept a channel's name."""
    time: str
    """Slack's `ts`, which identifies a message."""


class SlackClient(Protocol):
    """The interface of both APIs."""

    can_edit: bool

    def post(
        self, message: Message, channel: str | None, under: MessageRef | None
    ) -> tuple[SendOutcome, MessageRef | None]:
        """Post a message to a channel, or in the thread of another message."""

    def edit(self, message: Message, posted: MessageRef) -> SendOutcome:
        """Replace a posted message."""


@dataclass(slots=True)
class Webhook:
    """An incoming webhook: one channel, no edits; its URL is secret."""

    url: str = field(repr=False)
    can_edit: bool = False

    def post(
        self,
        message: Message,
        channel: str | None,  # noqa: ARG002
        under: MessageRef | None,  # noqa: ARG002
    ) -> tuple[SendOutcome, MessageRef | None]:
        """Post a message to the webhook's own channel."""
        client = WebhookClient(self.url, timeout=TIMEOUT_SECONDS, retry_handlers=[])
        try:
            answer = client.send_dict(message)
        except Exception as error:  # noqa: BLE001  http.client's exceptions have no common base with others
            return RetryLater(failure_reason(error)), None
        words = _WORD.fullmatch(answer.body.strip()) if isinstance(answer.body, str) else None
        word = words.group() if words else ""
        headers = {name.lower(): value for name, value in answer.headers.items()}
        outcome = status_outcome(answer.status_code, headers.get("retry-after"), time.time(), word)
        return outcome or Delivered(), None

    def edit(self, message: Message, posted: MessageRef) -> SendOutcome:  # noqa: ARG002
        """Return Undeliverable: a webhook can't edit."""
        return Undeliverable("a webhook can't edit")


class WebApi:
    """`chat.postMessage` and `chat.update`, by a bot's token."""

    can_edit = True

    def __init__(self, token: str, channel: str, *, base_url: str = API) -> None:
        """Create a client; channel is for alerts whose route names none."""
        self._client = WebClient(token, base_url=base_url, timeout=TIMEOUT_SECONDS, retry_handlers=[])
        self._channel = channel

    def post(
        self, message: Message, channel: str | None, under: MessageRef | None
    ) -> tuple[SendOutcome, MessageRef | None]:
        """Post a message to a channel, or in the thread of another message."""
        body: dict[str, Any] = {**message, "channel": channel or self._channel}
        if under:
            body |= {"channel": under.channel, "thread_ts": under.time}
        outcome, answer = self._call("chat.postMessage", body, chosen=channel)
        if not isinstance(outcome, Delivered):
            return outcome, None
        channel_id, at = answer.get("channel"), answer.get("ts")
        return outcome, MessageRef(channel_id, at) if isinstance(channel_id, str) and isinstance(at, str) else None

    def edit(self, message: Message, posted: MessageRef) -> SendOutcome:
        """Replace a posted message."""
        body = {**message, "channel": posted.channel, "ts": posted.time}
        return self._call("chat.update", body, chosen=None)[0]

    def _call(self, method: str, body: dict[str, Any], *, chosen: str | None) -> tuple[SendOutcome, dict[str, Any]]:
        try:
            answer = self._client.api_call(method, json=body)
        except SlackRequestError:
            return RetryLater("the answer is not from Slack"), {}
        except SlackClientError as error:
            response: Any = getattr(error, "response", None)
            return (_outcome(response, chosen) if response is not None else RetryLater(failure_reason(error))), {}
        except Exception as error:  # noqa: BLE001  a server's bytes may make the library raise anything
            return RetryLater(failure_reason(error)), {}
        return Delivered(), answer.data if isinstance(answer.data, dict) else {}


def _outcome(response: Any, chosen: str | None) -> SendOutcome:
    headers = {name.lower(): value for name, value in (response.headers or {}).items()}
    data = response.data if isinstance(response.data, dict) else {}
    found = _WORD.fullmatch(str(data.get("error", "")))
    word = found.group() if found else ""
    if response.status_code != 200:
        return status_outcome(response.status_code, headers.get("retry-after"), time.time(), word) or RetryLater(
            "the answer is not from Slack"
        )
    if word in _REFUSALS | GONE:
        return Undeliverable(word)
    if word in _NO_SUCH_CHANNEL and chosen:
        # The sink works, but the route's channel doesn't. The alert can be replayed once the route is fixed.
        return Undeliverable(f"{word}: {chosen}")
    return RetryLater(word or "an answer without ok", retry_seconds(headers.get("retry-after"), time.time()))
