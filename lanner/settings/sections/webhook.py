"""Settings of the webhook sink and the Apprise sink."""

from dataclasses import dataclass
from typing import Literal

from lanner.settings.about import about
from lanner.settings.forms import values
from schemas.catalogue.priorities import PriorityName

WebhookFormat = Literal["falco", "splunk_hec", "alertmanager", "template"]


@dataclass(frozen=True, slots=True)
class WebhookHeader:
    """One header of each request."""

    name: str = about("Name of the header.", "", form=values.header_name)
    value: str | None = about("Value of the header.", None, hides="value", form=values.ascii_line)
    value_file: str | None = about("File that holds the value, for secrets.", None)


@dataclass(frozen=True, slots=True)
class SplunkHec:
    """What Splunk's HTTP Event Collector receives with each event."""

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
        "URL of the receiver; if it contains a secret, use url_file.", None, hides="address", form=values.url
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
        "Content type of the template's result; for JSON, texts are escaped.",
        "application/json",
        form=values.ascii_line,
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
