"""Settings of how alerts reach people: Slack, routes, mutes, and what waits."""

from dataclasses import dataclass, field
from typing import Literal

from lanner.settings.about import about

RouteMatching = Literal["first", "all"]
Grade = Literal["emergency", "alert", "critical", "error", "warning", "notice", "informational", "info", "debug"]


@dataclass(frozen=True, slots=True)
class SlackOutput:
    """Alerts to Slack, by an incoming webhook or, where there is a token, by the Web API."""

    enabled: bool = about("Send alerts to Slack.", default=False)
    webhook_url_file: str | None = about(
        "File that holds the incoming webhook's address, a secret; or put it into $LANNER_SLACK_WEBHOOK_URL.", None
    )
    token_file: str | None = about(
        "File that holds a bot's token (scope chat:write); or put it into $LANNER_SLACK_TOKEN.", None
    )
    channel: str | None = about("Where a bot posts, such as '#alerts', unless a route says otherwise.", None)
    minimum_priority: Grade = about("What is less grave is not sent.", "notice")
    api_url: str = about("Where the Web API is.", "https://slack.com/api/")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in the rule language, and where it was written."""

    text: str
    place: str = field(default="settings", compare=False)


@dataclass(frozen=True, slots=True)
class AlertMatch:
    """Which alerts are meant; all that is given must hold. A text instead is the condition alone."""

    priority: Grade = about("This grave or graver.", "debug")
    rule: str = about("Name of the rule; * stands for any text.", "*")
    tags: tuple[str, ...] = about("Tags that it must have, all of them.", ())
    host: str = about("Name of the host; * stands for any text.", "*")
    namespace: str = about("Kubernetes namespace; * stands for any text.", "*")
    condition: Condition | None = about("Condition in the rule language on the alert's fields.", None)


@dataclass(frozen=True, slots=True)
class RouteSetting:
    """Where alerts of a kind go."""

    sink: str = about("The sink, built in or named under `sinks`.", "slack")
    match: AlertMatch = about("The alerts; all, if empty.", AlertMatch)
    channel: str | None = about("Slack channel (with a token only); the sink's own, if not set.", None)
    template: str | None = about("Output, as rules have it, instead of the rule's own.", None)


@dataclass(frozen=True, slots=True)
class MuteSetting:
    """Alerts that nobody is told of for a while; they are counted."""

    match: AlertMatch = about("The alerts.", AlertMatch)
    until: str | None = about("Date and time with zone; for good, if not set.", None)
    reason: str | None = about("Why.", None)


@dataclass(frozen=True, slots=True)
class Notifier:
    """What alerts wait in, and for how long that is normal."""

    state_dir: str = about(
        "Where `run` keeps alerts that wait, and `notifier` the ids of those delivered.", "/var/lib/lanner/notifier"
    )
    outbox_alerts: int = about(
        "How many may wait for one sink of `run`; beyond them the newest of the rule that has the most, counted, go.",
        100_000,
    )
