"""Settings of the sinks that speak HTTP to whatever the user has: a webhook, and the services of Apprise."""

from dataclasses import dataclass
from typing import Literal

from lanner.settings.about import about
from lanner.settings.sections.delivery import Grade

WebhookFormat = Literal["falco", "splunk_hec", "alertmanager", "template"]


@dataclass(frozen=True, slots=True)
class WebhookHeader:
    """One header of each request."""

    name: str = about("Its name.", "")
    value: str | None = about("What it says.", None, hides="value")
    value_file: str | None = about("File that holds what it says, for what is secret.", None)


@dataclass(frozen=True, slots=True)
class SplunkHec:
    """What Splunk's HTTP Event Collector is told beside each event."""

    index: str | None = about("Index; the token's own, if not set.", None)
    source: str = about("Source.", "lanner")
    sourcetype: str = about("Source type; _json finds the fields by itself.", "_json")


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings:
    """How an event becomes an alert of Alertmanager's, which lasts."""

    resolve_after_minutes: int = about("An alert ends so long after it was sent, unless it comes again.", 60)
    generator_url: str | None = about("Link in each alert; {id} stands for the alert's id.", None)


@dataclass(frozen=True, slots=True)
class WebhookOutput:
    """Alerts to an HTTP receiver, by POST."""

    enabled: bool = about("Send alerts to a webhook.", default=False)
    url: str | None = about("Where to; an address that holds a secret belongs into url_file.", None, hides="address")
    url_file: str | None = about("File that holds the address; or put it into $LANNER_WEBHOOK_URL.", None)
    format: WebhookFormat = about(
        "falco: one alert a request, as Falco's http_output sends it. splunk_hec: HTTP Event Collector.\n"
        "alertmanager: its API v2. template: what template_file makes.",
        "falco",
    )
    minimum_priority: Grade = about("What is less grave is not sent.", "debug")
    token_file: str | None = about(
        "File that holds the token to send as `Authorization: Bearer` (Splunk: `Splunk`); or put it into\n"
        "$LANNER_WEBHOOK_TOKEN.",
        None,
    )
    signing_secret_file: str | None = about(
        "File that holds the secret to sign requests with, as Standard Webhooks does; or put it into\n"
        "$LANNER_WEBHOOK_SIGNING_SECRET.",
        None,
    )
    headers: tuple[WebhookHeader, ...] = about(
        "More headers: [{name: X-Team, value: security}, {name: X-Key, value_file: /etc/lanner/key}].", ()
    )
    template_file: str | None = about("Jinja2 template of the body, for format: template.", None)
    content_type: str = about("What a template makes; in JSON, texts are escaped for it.", "application/json")
    timeout_seconds: int = about("How long an answer may take.", 10)
    ca_file: str | None = about("PEM file of the authorities to trust; the system's, if not set.", None)
    certificate_file: str | None = about(
        "PEM file of this client's certificate, where the receiver asks for one.", None
    )
    key_file: str | None = about("PEM file of its key.", None)
    splunk: SplunkHec = about("For format: splunk_hec.", SplunkHec)
    alertmanager: AlertmanagerSettings = about("For format: alertmanager.", AlertmanagerSettings)


@dataclass(frozen=True, slots=True)
class AppriseOutput:
    """Alerts to the services that the Apprise library knows."""

    enabled: bool = about("Send alerts by Apprise.", default=False)
    urls_file: str | None = about(
        "File of the services' addresses, one a line; they hold secrets. Or put them into $LANNER_APPRISE_URLS.", None
    )
    minimum_priority: Grade = about("What is less grave is not sent.", "notice")
