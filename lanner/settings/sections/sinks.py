"""Settings of the sinks, of what their alerts contain, and of routes, mutes, repeats and their conditions."""

from dataclasses import dataclass, field
from typing import Literal

from foundation.yaml.nodes import ScalarNode
from lanner.settings import forms
from lanner.settings.forms import about
from schemas.catalog.priorities import PriorityName

SyslogTransport = Literal["local", "unix", "udp", "tcp", "tls"]
SyslogBody = Literal["text", "json", "cef"]
LineFormat = Literal["text", "json"]
PrintedFormat = Literal["text", "line", "json"]
RouteMatching = Literal["first", "all"]


@dataclass(frozen=True, slots=True)
class StdoutOutput:
    """Alerts on standard output."""

    enabled: bool = about("Print alerts on standard output.", default=True)
    format: PrintedFormat | None = about(
        "text: several lines for people; line: one, as Falco prints it; json: one object. By default json if\n"
        "json_output is set, else text on a terminal, and line in a pipe or file.",
        None,
    )


@dataclass(frozen=True, slots=True)
class FileOutput:
    """Alerts as lines in a file, for log shippers."""

    enabled: bool = about("Append alerts to a file.", default=False)
    filename: str = about(
        "Path; created with mode 0600, reopened on SIGUSR1.", "/var/log/lanner/alerts.log", form=forms.path
    )
    format: LineFormat | None = about("text or json; by default as json_output.", None)
    rotate_mib: int | None = about("Start a new file at this size, MiB; never by default.", None)
    keep: int = about("Number of old files to retain: filename.1 is the newest of them.", 5)


@dataclass(frozen=True, slots=True)
class SyslogOutput:
    """Alerts to a syslog daemon, by default the local one."""

    enabled: bool = about("Send alerts to syslog.", default=False)
    socket: str = about("Datagram socket of the local daemon.", "/dev/log", form=forms.path)
    transport: SyslogTransport = about(
        "local: as syslog(3) does. unix, udp, tcp, tls: RFC 5424 with structured data, queued while unavailable.",
        "local",
    )
    host: str = about("Host of the daemon, for udp, tcp and tls.", "127.0.0.1")
    port: int | None = about("Port; by default 514, or 6514 for tls.", None, form=forms.port)
    body: SyslogBody = about("Message after the structured data: text, json or cef.", "text")
    ca_file: str | None = about("PEM file of the CAs to trust; by default the system's.", None)
    certificate_file: str | None = about("PEM file of this client's certificate, if the daemon requires one.", None)
    key_file: str | None = about("PEM file of its key.", None)


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
    api_url: str = about("URL of the Web API.", "https://slack.com/api/", form=forms.url)
    app_token_file: str | None = about(
        "File that holds an app token (scope connections:write), by which actions are approved in the channel; or set\n"
        "$LANNER_SLACK_APP_TOKEN. Only for `slack` of a notifier in a fleet.",
        None,
    )
    approvers: tuple[str, ...] = about(
        "Who may approve actions in Slack, each as ID=NAME: Slack's id of the person and the name for others, such as\n"
        "U0123ABCD=ann.",
        (),
        form=forms.approver,
    )


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
    until: str | None = about("Date and time with zone; unlimited by default.", None, form=forms.time)
    reason: str | None = about("The reason.", None)


@dataclass(frozen=True, slots=True)
class Notifier:
    """Where alerts wait, and for how many there is room."""

    state_dir: str = about(
        "Where `run` queues alerts, and `notifier` stores the ids of delivered ones.",
        "/var/lib/lanner/notifier",
        form=forms.path,
    )
    outbox_alerts: int = about(
        "Maximum queued alerts per sink of `run`; beyond it, the newest of the most frequent rule are dropped.", 100_000
    )


WebhookFormat = Literal["falco", "splunk_hec", "alertmanager", "template"]


@dataclass(frozen=True, slots=True)
class WebhookHeader:
    """One header of each request."""

    name: str = about("Name of the header.", "", form=forms.header_name)
    value: str | None = about("Value of the header.", None, hides="value", form=forms.ascii_line)
    value_file: str | None = about("File that holds the value, for secrets.", None)


@dataclass(frozen=True, slots=True)
class SplunkHec:
    """Metadata of each event for Splunk's HTTP Event Collector."""

    index: str | None = about("Index; by default the token's own.", None)
    source: str = about("Source.", "lanner")
    sourcetype: str = about("Source type; _json extracts fields automatically.", "_json")


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings:
    """How an event, which is instantaneous, becomes an alert of Alertmanager, which lasts."""

    resolve_after_minutes: int = about("An alert resolves this long after it was sent, unless it repeats.", 60)
    generator_url: str | None = about("Link in each alert; {id} is replaced by the alert's id.", None)


@dataclass(frozen=True, slots=True)
class WebhookOutput:
    """Alerts to an HTTP receiver, by POST."""

    enabled: bool = about("Send alerts to a webhook.", default=False)
    url: str | None = about(
        "URL of the receiver; if it contains a secret, use url_file.", None, hides="address", form=forms.url
    )
    url_file: str | None = about("File that holds the URL; or set $LANNER_WEBHOOK_URL.", None)
    format: WebhookFormat = about(
        "falco: one alert per request, as Falco's http_output sends it. splunk_hec: HTTP Event Collector.\n"
        "alertmanager: its API v2. template: rendered from template_file.",
        "falco",
    )
    minimum_priority: PriorityName = about("Only alerts of this priority or higher are sent.", "debug")
    token_file: str | None = about(
        "File that holds the token to send as `Authorization: Bearer` (Splunk: `Splunk`); or set\n"
        "$LANNER_WEBHOOK_TOKEN.",
        None,
    )
    signing_secret_file: str | None = about(
        "File that holds the secret to sign requests with, as in Standard Webhooks; or set\n"
        "$LANNER_WEBHOOK_SIGNING_SECRET.",
        None,
    )
    headers: tuple[WebhookHeader, ...] = about(
        "More headers: [{name: X-Team, value: security}, {name: X-Key, value_file: /etc/lanner/key}].", ()
    )
    template_file: str | None = about("Jinja2 template of the body, for format: template.", None)
    content_type: str = about(
        "Content type of the template's result; for JSON, texts are escaped.", "application/json", form=forms.ascii_line
    )
    timeout_seconds: int = about("Timeout of a request.", 10)
    ca_file: str | None = about("PEM file of the CAs to trust; by default the system's.", None)
    certificate_file: str | None = about("PEM file of this client's certificate, if the receiver requires one.", None)
    key_file: str | None = about("PEM file of its key.", None)
    splunk: SplunkHec = about("For format: splunk_hec.", SplunkHec)
    alertmanager: AlertmanagerSettings = about("For format: alertmanager.", AlertmanagerSettings)


@dataclass(frozen=True, slots=True)
class AppriseOutput:
    """Alerts to the services that the Apprise library supports."""

    enabled: bool = about("Send alerts by Apprise.", default=False)
    urls_file: str | None = about(
        "File of the services' URLs, one per line; they contain secrets. Or set $LANNER_APPRISE_URLS.", None
    )
    minimum_priority: PriorityName = about("Only alerts of this priority or higher are sent.", "notice")


NamedSection = FileOutput | SlackOutput | WebhookOutput | AppriseOutput | SyslogOutput


@dataclass(frozen=True, slots=True)
class OutputMatch:
    """Selects the alerts for an appended output; all conditions must be true."""

    source: str | None = about("Source of the rule.", None)
    rule: str | None = about("Name of the rule.", None)
    tags: tuple[str, ...] = about("Tags that the rule must have, all of them.", ())


@dataclass(frozen=True, slots=True)
class ExtraField:
    """A field for output_fields under a name of its own: `name: format`."""

    name: str
    format: str | None = None


@dataclass(frozen=True, slots=True)
class AppendOutput:
    """Text and fields that are added to the alerts of some rules."""

    match: OutputMatch = about("The alerts to add to; all if empty.", OutputMatch)
    extra_output: str | None = about("Text, with %fields, to append to the rule's output.", None)
    extra_fields: tuple[ExtraField, ...] = about("Fields for output_fields: a name, or `name: format`.", ())
    suggested_output: bool | None = about(
        "Whether to append container and pod to outputs that don't name them; true unless an entry that matches says\n"
        "otherwise, the last one counts.",
        None,
    )


@dataclass(frozen=True, slots=True)
class AlertRepeats:
    """When repeated alerts of one rule and host are counted instead of sent."""

    enabled: bool = about("Count repeats, and send a summary with their number for each period.", default=True)
    identical_of_process: int = about(
        "Identical alerts of one process, or one user of a JSON source, to send per period.", 5
    )
    identical: int = about(
        "Identical alerts of all processes with one program, command line, user and container to send per period.", 100
    )
    of_process: int = about(
        "Alerts of one process, or one user of a JSON source, to send per period, identical or not; as many again\n"
        "about each file that a rule names.",
        100,
    )
    under_root: int = about(
        "Alerts of one process to send per period about files below its root directory (chroot), if only the kernel's\n"
        "name of the file matches; as many again about each file that a rule names.",
        1,
    )
    period_seconds: int = about("Length of a period, s.", 60)
