"""The Slack sink that the settings describe."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from lanner.libraries import remedy
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.forms import is_loopback
from lanner.wiring.kafka import secret
from lanner.wiring.sinks.kinds import Opener, SinkContext
from notifier.sink import RoutedAlert, Sink


def prepare_slack(context: SinkContext) -> Opener:
    """Return what opens Slack, by the Web API if there is a token, else by an incoming webhook. Raises BadSettings."""
    try:
        from notifier.sinks.slack.client import WebApi, Webhook
        from notifier.sinks.slack.sink import (
            PostedMessages,
            SlackSink,
        )
    except ModuleNotFoundError:
        text = "slack_output needs the slack-sdk library."
        raise BadSettings(SettingFault("slack_output.enabled", text, remedy("notifier"))) from None
    section, problems, environment = context.section, list[SettingFault](), context.environment
    token = secret("slack_output.token_file", "LANNER_SLACK_TOKEN", section.token_file, environment, problems)
    url = secret(
        "slack_output.webhook_url_file", "LANNER_SLACK_WEBHOOK_URL", section.webhook_url_file, environment, problems
    )
    if token and not section.channel:
        text = "slack_output.channel must be set where a bot's token is used."
        problems.append(SettingFault("slack_output.token_file", text, follows=True))
    for index, each in enumerate(context.settings.routes):
        if each.channel and each.sink == context.name and not token:
            name, hint = f"routes[{index}].channel", "set slack_output.token_file"
            problems.append(SettingFault(name, f"{name}: an incoming webhook has one channel.", hint, follows=True))
    if not token and not url and not problems:
        hint = "set slack_output.webhook_url_file or token_file, or $LANNER_SLACK_WEBHOOK_URL or $LANNER_SLACK_TOKEN"
        problems.append(
            SettingFault("slack_output.enabled", "slack_output needs a webhook URL or a token.", hint, follows=True)
        )
    elif url and not token and not (url.startswith("https://") or _is_of_loopback(url)):
        text = "slack_output.webhook_url_file: it does not hold an https:// URL."
        problems.append(SettingFault("slack_output.webhook_url_file", text))
    if problems:
        raise BadSettings(*problems)

    def open_slack() -> Sink:
        if not token:
            return SlackSink(Webhook(url))
        try:
            posted = PostedMessages(Path(context.settings.notifier.state_dir) / f"{context.name}.posted.db")
        except OSError:
            # `notifier test` may run as a user who can't write there; a notifier fails on its queue in that folder.
            posted = PostedMessages(None)
        return SlackSink(WebApi(token, section.channel or "", base_url=section.api_url), posted)

    return open_slack


def preview_slack(_: SinkContext, routed: RoutedAlert) -> str:
    """Return the message as JSON."""
    from notifier.sinks.slack.blocks import message

    return json.dumps(message(routed), indent=2)


def _is_of_loopback(url: str) -> bool:
    """Return whether the host is this one; its address may also begin a longer name or be a user name before an @."""
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
