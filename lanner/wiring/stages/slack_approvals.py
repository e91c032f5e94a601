"""Builds the approval of actions in Slack, which a notifier of a fleet runs beside its sinks."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bus.connection import Connection
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.terminal.output import note
from lanner.wiring.kafka import secret

if TYPE_CHECKING:
    from lanner.actions.book import ActionRecords
    from lanner.actions.slack import SlackApprovals

VARIABLE = "LANNER_SLACK_APP_TOKEN"


def open_approvals(
    settings: Settings, sinks: Sequence[str], connection: Connection | None, environment: Mapping[str, str] = os.environ
) -> "SlackApprovals | None":
    """Start it if there is an app token, a broker, and `slack` among the sinks.

    Raises:
        BadInput: what it needs is not set, or a key can't be used.
        BusUnavailable: the broker's client can't be created.
    """
    section, problems = settings.slack_output, list[SettingFault]()
    if connection is None or "slack" not in sinks:
        return None
    name = "slack_output.app_token_file"
    app_token = secret(name, VARIABLE, section.app_token_file, environment, problems)
    if not app_token and not problems:
        return None
    token = secret("slack_output.token_file", "LANNER_SLACK_TOKEN", section.token_file, environment, problems)
    if not token or not section.channel:
        text = f"{name}: approvals need a bot's token (slack_output.token_file) and slack_output.channel."
        problems.append(SettingFault(name, text, follows=True))
    if not section.approvers:
        text = f"{name}: slack_output.approvers must list who may approve."
        problems.append(SettingFault(name, text, follows=True))
    if settings.actions.key_file is None:
        text = f"{name}: actions.key_file must be set: it signs what people decide."
        problems.append(SettingFault(name, text, follows=True))
    if problems:
        raise BadSettings(*problems)
    from lanner.actions.topics import TopicActionRecords
    from lanner.wiring.stages.action_records import signing_key

    return approvals_of(settings, TopicActionRecords(connection, signing_key(settings)), app_token, token)


def approvals_of(settings: Settings, records: "ActionRecords", app_token: str, token: str) -> "SlackApprovals":
    """Start the approval of the actions in some records."""
    from lanner.actions.slack import SlackApprovals
    from notifier.sinks.slack.buttons import SlackButtons
    from notifier.sinks.slack.client import WebApi

    section = settings.slack_output
    return SlackApprovals(
        records,
        WebApi(token, section.channel or "", base_url=section.api_url),
        partial(SlackButtons, app_token, token, base_url=section.api_url),
        dict(each.split("=", 1) for each in section.approvers),
        note,
    )
