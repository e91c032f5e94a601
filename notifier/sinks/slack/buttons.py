"""Buttons of Slack messages, by Socket Mode: this process connects to Slack, so nothing listens here.

A click is a claim of Slack about who clicked; whether that person may decide is for others.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackClientError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from notifier.sinks.http import failure_reason
from notifier.sinks.slack.blocks import Message, in_prose
from notifier.sinks.slack.client import API, TIMEOUT_SECONDS

PREFIX = "lanner_"
_MAX_TEXT = 200
_RETRY_SECONDS = 10.0
_WATCH_SECONDS = 5.0
_LOG = logging.getLogger("lanner.notifier")


@dataclass(frozen=True, slots=True)
class Click:
    """A click on a button of a message of ours."""

    name: str
    """The button, without prefix."""
    value: str
    """What the button is about."""
    user: str
    """Slack's id of the person, such as U123."""
    channel: str


def click_of(payload: Any) -> Click | None:
    """Return the click in a request's payload; None for anything else. Source: docs.slack.dev, block_actions."""
    try:
        if payload["type"] != "block_actions":
            return None
        action = payload["actions"][0]
        found = (action["action_id"], action["value"], payload["user"]["id"], payload["channel"]["id"])
    except (KeyError, IndexError, TypeError):
        return None
    if not all(isinstance(each, str) and 0 < len(each) <= _MAX_TEXT for each in found):
        return None
    name, value, user, channel = found
    return Click(name.removeprefix(PREFIX), value, user, channel) if name.startswith(PREFIX) else None


def question(
    title: str, facts: list[tuple[str, str]], buttons: list[tuple[str, str]], value: str, outcome: str = ""
) -> Message:
    """Return a message with buttons, or with its outcome instead of them.

    Args:
        title: what is asked; it, facts and outcome may contain what an attacker wrote.
        facts: labels and texts.
        buttons: name and label of each.
        value: what the buttons are about.
        outcome: what was decided and done; empty if people may still decide.
    """
    lines = [f"*{label}*  {in_prose(text, 300)}" for label, text in facts]
    text = f"*{in_prose(title, 300)}*\n" + "\n".join(lines)
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": text[:2990]}}]
    if outcome:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": in_prose(outcome, 1000)}]})
    else:
        elements = [
            {
                "type": "button",
                "text": {"type": "plain_text", "text": label},
                "action_id": f"{PREFIX}{name}",
                "value": value,
                "style": style,
            }
            for (name, label), style in zip(buttons, ("primary", "danger"), strict=False)
        ]
        blocks.append({"type": "actions", "elements": elements})
    return {"text": in_prose(f"{title}: {outcome}" if outcome else title, 300), "blocks": blocks}


class SlackButtons:
    """Receives clicks, and answers single persons."""

    def __init__(self, app_token: str, token: str, on_click: Callable[[Click], None], *, base_url: str = API) -> None:
        """Connect on a thread, again and again until it works.

        Args:
            app_token: of the app, with the scope connections:write.
            token: of the bot.
            on_click: receives clicks on a thread of the library, after Slack has its acknowledgement.
            base_url: of the Web API.
        """
        self._on_click = on_click
        self._web = WebClient(token, base_url=base_url, timeout=TIMEOUT_SECONDS, retry_handlers=[])
        self._client = SocketModeClient(app_token, web_client=self._web, logger=_LOG.getChild("slack"), concurrency=2)
        # Its messages quote what comes from outside.
        self._client.logger.setLevel(logging.CRITICAL)
        self._client.socket_mode_request_listeners.append(self._take)
        self._stopped = threading.Event()
        self.problem = ""
        """Why there is no connection; empty if there is one."""
        threading.Thread(target=self._connect, name="slack-buttons", daemon=True).start()

    def tell(self, click: Click, text: str) -> None:
        """Show a text to the person who clicked only."""
        try:
            self._web.chat_postEphemeral(channel=click.channel, user=click.user, text=in_prose(text, 500))
        except Exception as error:  # noqa: BLE001  a server's bytes may make the library raise anything
            _LOG.warning("slack: a person could not be answered: %s", failure_reason(error))

    def close(self) -> None:
        """Disconnect."""
        self._stopped.set()
        self._client.close()

    def _connect(self) -> None:
        while not self._stopped.is_set():
            try:
                if not self._client.is_connected():
                    self._client.connect_to_new_endpoint()
                self.problem = ""
            except Exception as error:  # noqa: BLE001  as above
                reason = (
                    error.response.get("error")
                    if isinstance(error, SlackClientError) and hasattr(error, "response")
                    else ""
                )
                if not self.problem:
                    _LOG.warning("slack: no connection for approvals: %s", reason or failure_reason(error))
                self.problem = reason or failure_reason(error)
            self._stopped.wait(_RETRY_SECONDS if self.problem else _WATCH_SECONDS)

    def _take(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        client.send_socket_mode_response(SocketModeResponse(request.envelope_id))
        click = click_of(request.payload) if request.type == "interactive" else None
        if click is not None:
            self._on_click(click)
