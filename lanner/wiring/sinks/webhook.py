"""The webhook that the settings ask for."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import lanner
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.sections.webhook import WebhookHeader, WebhookOutput
from lanner.wiring.kafka import secret
from notifier.delivery.outcome import RemoteSink
from notifier.remote.tls import BadCertificate, TlsFiles, client_context
from notifier.webhook.alertmanager import AlertmanagerFormat
from notifier.webhook.form import FalcoFormat, WebhookFormat
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
"""Headers that follow from other settings, or from the body."""


def form_of(settings: Settings) -> WebhookFormat:
    """Give the format of bodies. Raises BadInput."""
    wanted = settings.webhook_output
    if wanted.format == "splunk_hec":
        return SplunkFormat(wanted.splunk.index, wanted.splunk.source, wanted.splunk.sourcetype)
    if wanted.format == "alertmanager":
        return AlertmanagerFormat(wanted.alertmanager.resolve_after_minutes, wanted.alertmanager.generator_url)
    if wanted.format == "falco":
        return FalcoFormat()
    if not wanted.template_file:
        raise BadInput("webhook_output.template_file must be set where webhook_output.format is template.")
    try:
        from notifier.webhook.template import BadTemplate, TemplateFormat  # noqa: PLC0415  needs the notifier's extra
    except ModuleNotFoundError:
        raise BadInput("webhook_output.format: template needs jinja2: pip install 'lanner[notifier]'.") from None
    try:
        return TemplateFormat(Path(wanted.template_file), wanted.content_type)
    except BadTemplate as error:
        raise BadInput(f"webhook_output.template_file: {error}") from None


def webhook_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> RemoteSink:
    """Give the webhook. Raises BadInput with all that is wrong."""
    try:
        from notifier.webhook.posting import BadProxy, Poster  # noqa: PLC0415  needs the notifier's extra
        from notifier.webhook.sink import WebhookSink  # noqa: PLC0415
    except ModuleNotFoundError:
        raise BadInput("webhook_output needs urllib3: pip install 'lanner[notifier]'.") from None
    wanted, problems = settings.webhook_output, list[str]()

    def given(what: str, file: str | None) -> str:
        name = f"webhook_output.{what}_file"
        found = secret(name, f"LANNER_WEBHOOK_{what.upper()}", file, environment, problems).strip()
        if not _VALUE.fullmatch(found):
            problems.append(f"{name}: what it holds must be one line of ASCII.")
        return found

    url = given("url", wanted.url_file) or wanted.url or ""
    token, signing_secret = given("token", wanted.token_file), given("signing_secret", wanted.signing_secret_file)
    headers = {"User-Agent": f"lanner/{lanner.__version__}"} | _headers(wanted, problems)
    form = _collected(lambda: form_of(settings), problems)
    if token and form is not None:
        headers["Authorization"] = f"{form.scheme} {token}"
    if wanted.format == "splunk_hec" and not token:
        problems.append("no token for Splunk: set webhook_output.token_file, or put it into $LANNER_WEBHOOK_TOKEN.")
    problems += _wrong_with(url)
    key = None
    try:
        key = key_of(signing_secret) if signing_secret else None
    except ValueError as error:
        problems.append(f"webhook_output.signing_secret_file: {error}.")
    try:
        files = TlsFiles(wanted.ca_file or "", wanted.certificate_file or "", wanted.key_file or "")
        context = client_context(files)
        if not problems and form is not None:
            poster = Poster(url, context=context, seconds=wanted.timeout_seconds)
            hidden = [url, token, signing_secret, *headers.values()]
            return WebhookSink(poster, form, headers=headers, key=key, hidden=hidden)
    except BadCertificate as error:
        problems.append(f"webhook_output: {error}.")
    except BadProxy as error:
        problems.append(f"webhook_output: {error}")
    raise BadInput(*problems)


def _collected(make: Callable[[], WebhookFormat], problems: list[str]) -> WebhookFormat | None:
    try:
        return make()
    except BadInput as error:
        problems += error.messages
        return None


def _wrong_with(url: str) -> list[str]:
    """Say what is wrong with an address, without quoting it."""
    if not url:
        return [
            "webhook_output needs an address: set webhook_output.url or url_file, or put it into $LANNER_WEBHOOK_URL."
        ]
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return ["webhook_output.url: is no address."]
    if "@" in parts.netloc:
        return ["webhook_output.url: takes no name and password; use webhook_output.token_file or headers."]
    return [] if good else ["webhook_output.url: is no http:// or https:// address."]


def _headers(wanted: WebhookOutput, problems: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, each in enumerate(wanted.headers):
        name = f"webhook_output.headers[{place}]"
        if not _NAME.fullmatch(each.name):
            problems.append(f"{name}.name: {each.name!r} is no name of a header.")
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
