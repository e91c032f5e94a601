"""Settings of alert delivery: Slack, routes, mutes and queues."""

from dataclasses import dataclass, field
from typing import Literal

from lanner.settings.about import about
from lanner.settings.forms import values
from schemas.catalogue.priorities import PriorityName
from schemas.yaml.nodes import ScalarNode

RouteMatching = Literal["first", "all"]


@dataclass(frozen=True, slots=True)
class SlackOutput:
    """Alerts to Slack, by an incoming webhook or, with a token, by the Web API."""

    enabled: bool = about("Send alerts to Slack.", default=False)
    webhook_url_file: str | None = about(
        "File that holds the URL of the incoming webhook, a secret; or set $LANNER_SLACK_WEBHOOK_URL.", None
    )
    token_file: str | None = about("File that holds a bot token (scope chat:write); or set $LANNER_SLACK_TOKEN.", None)
    channel: str | None = about("Channel for a bot's messages, such as '#alerts'; routes may override it.", None)
    minimum_priority: PriorityName = about("Only alerts of this priority or higher are sent.", "notice")
    api_url: str = about("URL of the Web API.", "https://slack.com/api/", form=values.url)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in the rule language, and where it was written."""

    text: str
    node: ScalarNode | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AlertMatch:
    """Selects alerts that meet all of these conditions. A text instead of a mapping is `condition`."""

    priority: PriorityName = about("This priority or higher.", "debug")
    rule: str = about("Name of the rule; * matches any text.", "*")
    tags: tuple[str, ...] = about("Tags that the alert must have, all of them.", ())
    host: str = about("Name of the host; * matches any text.", "*")
    namespace: str = about("Kubernetes namespace; * matches any text.", "*")
    condition: Condition | None = about("Condition in the rule language on the alert's fields.", None)


@dataclass(frozen=True, slots=True)
class RouteSetting:
    """A route from alerts to a sink."""

    sink: str = about("The sink, built-in or named under `sinks`.", "slack")
    match: AlertMatch = about("The alerts; all if empty.", AlertMatch)
    channel: str | None = about("Slack channel (only with a token); by default the sink's own.", None)
    template: str | None = about("Output to use instead of the rule's.", None)


@dataclass(frozen=True, slots=True)
class MuteSetting:
    """Alerts that are counted but not sent, until a date."""

    match: AlertMatch = about("The alerts.", AlertMatch)
    until: str | None = about("Date and time with zone; unlimited by default.", None, form=values.time)
    reason: str | None = about("The reason.", None)


@dataclass(frozen=True, slots=True)
class Notifier:
    """Where alerts wait, and for how many there is room."""

    state_dir: str = about(
        "Where `run` queues alerts, and `notifier` stores the ids of delivered ones.",
        "/var/lib/lanner/notifier",
        form=values.path,
    )
    outbox_alerts: int = about(
        "Maximum queued alerts per sink of `run`; beyond it, the newest of the most frequent rule are dropped.",
        100_000,
    )
