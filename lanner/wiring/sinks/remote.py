"""The sinks that settings describe at services: webhook, Slack and Apprise."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import lanner
from lanner.errors import BadInput
from lanner.libraries import remedy
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.forms import has_password, is_http_url, is_loopback
from lanner.settings.sections.sinks import WebhookHeader, WebhookOutput
from lanner.wiring.kafka import origin_of, secret
from lanner.wiring.sinks.kinds import Opener, SinkContext, tls_of
from notifier.formats.falco import wording
from notifier.sink import RoutedAlert, Sink
from notifier.sinks.webhook.formats import AlertmanagerFormat, BodyError, FalcoFormat, SplunkFormat, WebhookFormat


def prepare_apprise(context: SinkContext) -> Opener:
    """Return what opens Apprise with its services. Raises BadSettings."""
    problems: list[SettingFault] = []
    text = secret(
        "apprise_output.urls_file", "LANNER_APPRISE_URLS", context.section.urls_file, context.environment, problems
    )
    urls = [each.strip() for each in text.splitlines() if each.strip() and not each.strip().startswith("#")]
    if not urls and not problems:
        hint = "set apprise_output.urls_file or $LANNER_APPRISE_URLS, with one URL a line"
        problems.append(SettingFault("apprise_output.enabled", "apprise_output needs URLs.", hint, follows=True))
    if problems:
        raise BadSettings(*problems)
    try:
        from notifier.sinks.apprise import AppriseSink, BadService
    except ModuleNotFoundError:
        text = "apprise_output needs the apprise library."
        raise BadSettings(SettingFault("apprise_output.enabled", text, remedy("apprise"))) from None
    try:
        sink = AppriseSink(urls)
    except BadService as error:
        origin = origin_of("apprise_output.urls_file", "LANNER_APPRISE_URLS", context.environment)
        raise BadSettings(_fault_of(origin, f"apprise_output: {error}")) from None
    return lambda: sink


def preview_apprise(_: SinkContext, routed: RoutedAlert) -> str:
    """Return title and body."""
    return "\n".join(wording(routed.rendered))


_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)
_OURS = frozenset(
    {
        *("accept-encoding", "authorization", "connection", "content-length", "content-type", "host"),
        *("transfer-encoding", "webhook-id", "webhook-signature", "webhook-timestamp"),
    }
)
"""Headers that other settings or the body determine."""


def _format(section: WebhookOutput) -> WebhookFormat:
    """Return the format of bodies. Raises BadSettings."""
    if section.format == "splunk_hec":
        return SplunkFormat(section.splunk.index, section.splunk.source, section.splunk.sourcetype)
    if section.format == "alertmanager":
        return AlertmanagerFormat(section.alertmanager.resolve_after_minutes, section.alertmanager.generator_url)
    if section.format == "falco":
        return FalcoFormat()
    if not section.template_file:
        text = "webhook_output.template_file must be set where webhook_output.format is template."
        raise BadSettings(SettingFault("webhook_output.format", text, follows=True))
    try:
        from notifier.sinks.webhook.template import BadTemplate, TemplateFormat
    except ModuleNotFoundError:
        text = "webhook_output.format: template needs the jinja2 library."
        raise BadSettings(SettingFault("webhook_output.format", text, remedy("notifier"))) from None
    try:
        return TemplateFormat(Path(section.template_file), section.content_type)
    except BadTemplate as error:
        name = "webhook_output.template_file"
        raise BadSettings(SettingFault(name, f"{name}: {error}")) from None


def prepare_webhook(context: SinkContext) -> Opener:
    """Return what opens the webhook. Raises BadSettings with all problems."""
    try:
        from notifier.sinks.webhook.posting import BadProxy, Poster
        from notifier.sinks.webhook.sink import WebhookSink, key_of
    except ModuleNotFoundError:
        text = "webhook_output needs the urllib3 library."
        raise BadSettings(SettingFault("webhook_output.enabled", text, remedy("notifier"))) from None
    section, problems = context.section, list[SettingFault]()

    def read(what: str, file: str | None) -> str:
        name = f"webhook_output.{what}_file"
        found = secret(name, f"LANNER_WEBHOOK_{what.upper()}", file, context.environment, problems).strip()
        if not _VALUE.fullmatch(found):
            origin = origin_of(name, f"LANNER_WEBHOOK_{what.upper()}", context.environment)
            problems.append(_fault_of(origin, f"{origin}: it must hold one line of ASCII."))
        return found

    url = read("url", section.url_file) or section.url or ""
    if not problems:
        name = f"webhook_output.{'url_file' if section.url_file else 'url'}"
        problems += _url_problems(url, origin_of(name, "LANNER_WEBHOOK_URL", context.environment))
    token, signing_secret = read("token", section.token_file), read("signing_secret", section.signing_secret_file)
    headers = {"User-Agent": f"lanner/{lanner.__version__}"} | _headers(section, problems)
    form = _or_problems(lambda: _format(section), problems)
    if token and form is not None:
        headers["Authorization"] = f"{form.scheme} {token}"
    if section.format == "splunk_hec" and not token and not section.token_file:
        hint = "set webhook_output.token_file or $LANNER_WEBHOOK_TOKEN"
        problems.append(SettingFault("webhook_output.format", "no token for Splunk.", hint, follows=True))
    key = None
    try:
        key = key_of(signing_secret) if signing_secret else None
    except ValueError as error:
        name = "webhook_output.signing_secret_file"
        problems.append(SettingFault(name, f"{name}: {error}."))
    tls = tls_of("webhook_output", section, problems)
    if problems or tls is None or form is None:
        raise BadSettings(*problems)
    try:
        poster = Poster(url, context=tls, seconds=section.timeout_seconds)
    except BadProxy as error:
        raise BadSettings(SettingFault("", f"webhook_output: {error}")) from None
    hidden = [url, token, signing_secret, *headers.values()]
    return lambda: WebhookSink(poster, form, headers=headers, key=key, hidden=hidden)


def preview_webhook(context: SinkContext, routed: RoutedAlert) -> str:
    """Return the body of the request. Raises BadInput."""
    try:
        return _format(context.section).body([routed], time.time_ns()).data.decode("utf-8", "replace")
    except BodyError as error:
        raise BadInput(f"{error}.") from None


def _or_problems(make: Callable[[], WebhookFormat], problems: list[SettingFault]) -> WebhookFormat | None:
    try:
        return make()
    except BadSettings as error:
        problems += error.faults
        return None


def _url_problems(url: str, origin: str) -> list[SettingFault]:
    """Return what is wrong with a URL, without quoting it; origin is the setting or the $VARIABLE that it is from."""
    if not url:
        hint = "set webhook_output.url or url_file, or $LANNER_WEBHOOK_URL"
        return [SettingFault("webhook_output.enabled", "webhook_output needs a URL.", hint, follows=True)]
    if has_password(url):
        hint = "use webhook_output.token_file or headers"
        return [_fault_of(origin, f"{origin}: it must not hold a user name or password.", hint)]
    return [] if is_http_url(url) else [_fault_of(origin, f"{origin}: it is not an http:// or https:// URL.")]


def _fault_of(origin: str, text: str, hint: str = "") -> SettingFault:
    """Return an error in a secret; one in a variable has no place in the settings."""
    return SettingFault("" if origin.startswith("$") else origin, text, hint)


def _headers(section: WebhookOutput, problems: list[SettingFault]) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, each in enumerate(section.headers):
        name = f"webhook_output.headers[{index}]"
        if not each.name:
            problems.append(SettingFault(name, f"{name} needs a name.", follows=True))
        elif each.name.lower() in _OURS:
            text = f"{name}.name: {each.name} is set by Lanner itself."
            problems.append(SettingFault(f"{name}.name", text, "for Authorization, set token_file"))
        value = _value(name, each, problems)
        if not _VALUE.fullmatch(value):
            problems.append(SettingFault(f"{name}.value_file", f"{name}: its value must be one line of ASCII."))
        found[each.name] = value
    return found


def _value(name: str, header: WebhookHeader, problems: list[SettingFault]) -> str:
    if (header.value is None) == (header.value_file is None):
        problems.append(SettingFault(name, f"{name}: needs either value or value_file.", follows=True))
    if header.value_file is None:
        return header.value or ""
    return secret(f"{name}.value_file", "", header.value_file, {}, problems).strip()


def prepare_slack(context: SinkContext) -> Opener:
    """Return what opens Slack, by the Web API if there is a token, else by an incoming webhook. Raises BadSettings."""
    try:
        from notifier.sinks.slack.client import WebApi, Webhook
        from notifier.sinks.slack.sink import PostedMessages, SlackSink
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
        origin = origin_of("slack_output.webhook_url_file", "LANNER_SLACK_WEBHOOK_URL", environment)
        problems.append(_fault_of(origin, f"{origin}: it does not hold an https:// URL."))
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
