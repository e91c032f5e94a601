"""The webhook sink that the settings describe."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import lanner
from lanner.errors import BadInput
from lanner.settings.sections.webhook import WebhookHeader, WebhookOutput
from lanner.wiring.kafka import secret
from lanner.wiring.sinks.kinds import SinkContext
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.sink import Sink
from notifier.remote.tls import BadCertificate, TlsFiles, client_context
from notifier.webhook.alertmanager import AlertmanagerFormat
from notifier.webhook.form import BodyError, FalcoFormat, WebhookFormat
from notifier.webhook.signature import key_of
from notifier.webhook.splunk import SplunkFormat

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)
_OURS = frozenset(
    {
        *("accept-encoding", "authorization", "connection", "content-length", "content-type", "host"),
        *("transfer-encoding", "webhook-id", "webhook-signature", "webhook-timestamp"),
    }
)
"""Headers that other settings or the body determine."""


def _format(section: WebhookOutput) -> WebhookFormat:
    """Return the format of bodies. Raises BadInput."""
    if section.format == "splunk_hec":
        return SplunkFormat(section.splunk.index, section.splunk.source, section.splunk.sourcetype)
    if section.format == "alertmanager":
        return AlertmanagerFormat(section.alertmanager.resolve_after_minutes, section.alertmanager.generator_url)
    if section.format == "falco":
        return FalcoFormat()
    if not section.template_file:
        raise BadInput("webhook_output.template_file must be set where webhook_output.format is template.")
    try:
        from notifier.webhook.template import BadTemplate, TemplateFormat  # noqa: PLC0415  needs the notifier's extra
    except ModuleNotFoundError:
        raise BadInput("webhook_output.format: template needs jinja2: pip install 'lanner[notifier]'.") from None
    try:
        return TemplateFormat(Path(section.template_file), section.content_type)
    except BadTemplate as error:
        raise BadInput(f"webhook_output.template_file: {error}") from None


def open_webhook(context: SinkContext) -> Sink:
    """Return the webhook. Raises BadInput with all problems."""
    try:
        from notifier.webhook.posting import BadProxy, Poster  # noqa: PLC0415  needs the notifier's extra
        from notifier.webhook.sink import WebhookSink  # noqa: PLC0415
    except ModuleNotFoundError:
        raise BadInput("webhook_output needs urllib3: pip install 'lanner[notifier]'.") from None
    section, problems = context.section, list[str]()

    def read(what: str, file: str | None) -> str:
        name = f"webhook_output.{what}_file"
        found = secret(name, f"LANNER_WEBHOOK_{what.upper()}", file, context.environment, problems).strip()
        if not _VALUE.fullmatch(found):
            problems.append(f"{name}: it must hold one line of ASCII.")
        return found

    url = read("url", section.url_file) or section.url or ""
    token, signing_secret = read("token", section.token_file), read("signing_secret", section.signing_secret_file)
    headers = {"User-Agent": f"lanner/{lanner.__version__}"} | _headers(section, problems)
    form = _or_problems(lambda: _format(section), problems)
    if token and form is not None:
        headers["Authorization"] = f"{form.scheme} {token}"
    if section.format == "splunk_hec" and not token:
        problems.append("no token for Splunk: set webhook_output.token_file, or put it into $LANNER_WEBHOOK_TOKEN.")
    problems += _url_problems(url)
    key = None
    try:
        key = key_of(signing_secret) if signing_secret else None
    except ValueError as error:
        problems.append(f"webhook_output.signing_secret_file: {error}.")
    try:
        files = TlsFiles(section.ca_file or "", section.certificate_file or "", section.key_file or "")
        tls = client_context(files)
        if not problems and form is not None:
            poster = Poster(url, context=tls, seconds=section.timeout_seconds)
            hidden = [url, token, signing_secret, *headers.values()]
            return WebhookSink(poster, form, headers=headers, key=key, hidden=hidden)
    except BadCertificate as error:
        problems.append(f"webhook_output: {error}.")
    except BadProxy as error:
        problems.append(f"webhook_output: {error}")
    raise BadInput(*problems)


def preview_webhook(context: SinkContext, routed: RoutedAlert) -> str:
    """Return the body of the request. Raises BadInput."""
    try:
        return _format(context.section).body([routed], time.time_ns()).data.decode("utf-8", "replace")
    except BodyError as error:
        raise BadInput(f"{error}.") from None


def _or_problems(make: Callable[[], WebhookFormat], problems: list[str]) -> WebhookFormat | None:
    try:
        return make()
    except BadInput as error:
        problems += error.messages
        return None


def _url_problems(url: str) -> list[str]:
    """Return what is wrong with a URL, without quoting it."""
    if not url:
        return ["webhook_output needs a URL: set webhook_output.url or url_file, or put it into $LANNER_WEBHOOK_URL."]
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return ["webhook_output.url: it is not a URL."]
    if "@" in parts.netloc:
        return [
            "webhook_output.url: it must not hold a user name or password; use webhook_output.token_file or headers."
        ]
    return [] if good else ["webhook_output.url: it is not an http:// or https:// URL."]


def _headers(section: WebhookOutput, problems: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, each in enumerate(section.headers):
        name = f"webhook_output.headers[{index}]"
        if not _NAME.fullmatch(each.name):
            problems.append(f"{name}.name: {each.name!r} is not a header name.")
        elif each.name.lower() in _OURS:
            problems.append(f"{name}.name: {each.name} is set by Lanner itself (for Authorization: token_file).")
        value = _value(name, each, problems)
        if not _VALUE.fullmatch(value):
            problems.append(f"{name}: its value must be one line of ASCII.")
        found[each.name] = value
    return found


def _value(name: str, header: WebhookHeader, problems: list[str]) -> str:
    if (header.value is None) == (header.value_file is None):
        problems.append(f"{name}: needs either value or value_file.")
    if header.value_file is None:
        return header.value or ""
    return secret(f"{name}.value_file", "", header.value_file, {}, problems).strip()
