"""The far ends that the settings ask for, and which alerts go to which."""

import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import lanner
from bus.clients.backoff import Backoff
from bus.connection import Connection
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.named import SIEM, in_its_words, kind_of, secrets_of, section_of, seen_by, sinks_of
from lanner.settings.sections.delivery import AlertMatch
from lanner.wiring.kafka import secret
from lanner.wiring.routes.conditions import Predicate, compile_conditions, conditions_of, guarded
from lanner.wiring.routes.templates import Fill, compile_templates, or_own_text
from lanner.wiring.sinks.apprise import apprise_of
from lanner.wiring.sinks.webhook import webhook_of
from notifier.delivery.outcome import RemoteSink, RoutedAlert
from notifier.delivery.retry import RetryPolicy
from notifier.delivery.routing import AlertMatcher, Mute, Route, route
from notifier.delivery.stats import SinkStats
from notifier.delivery.worker import Address, AlertQueue, Worker
from notifier.formats.rfc5424 import SyslogStyle, formatter
from notifier.formats.severity import SEVERITY
from notifier.formats.text import LineStyle, line_of
from notifier.local.adapters import LocalSinkAdapter
from notifier.local.file import FileSink
from notifier.local.stdout import StdoutSink
from notifier.remote.syslog import RemoteSyslogSink, SyslogTarget, Transport
from notifier.remote.tls import BadCertificate, TlsFiles, client_context
from schemas.alert import Alert

MOST_UDP_BYTES = 2048
"""What every receiver must take. Source: RFC 5426, section 3.2."""


def addresses_of(settings: Settings, note: Callable[[str], None]) -> Callable[[str, SinkStats], Address]:
    """Give the function that makes each sink's address of routes and mutes, their conditions compiled once.

    note is told once of a condition that fails. Raises BadInput.
    """
    predicates = compile_conditions(settings, conditions_of(settings))
    for place, each in enumerate(settings.mute):
        _until(each.until, f"mute[{place}]")
    for place, wanted in enumerate(settings.routes):
        if wanted.template is not None and wanted.sink in SIEM:
            raise BadInput(f"routes[{place}].template: {wanted.sink} has documents, and no text to put it in.")
        if wanted.channel is not None and kind_of(settings, wanted.sink) != "slack":
            raise BadInput(f"routes[{place}].channel: {wanted.sink} has none; only slack has channels.")
    templates = compile_templates(settings)
    return lambda sink, tally: _address(settings, predicates, templates, sink=sink, tally=tally, note=note)


def _address(
    settings: Settings,
    predicates: Mapping[str, Predicate],
    templates: Mapping[int, Fill],
    *,
    sink: str,
    tally: SinkStats,
    note: Callable[[str], None],
) -> Address:
    """Give the function that says whether an alert is for a sink; it counts those that are not."""

    def match(wanted: AlertMatch, name: str, *, on_fault: bool) -> AlertMatcher:
        found = predicates.get(f"{name}.match")
        condition = None if found is None else guarded(found, name, tally, note, on_fault=on_fault)
        return AlertMatcher(
            _priority(wanted.priority), wanted.rule, wanted.tags, wanted.host, wanted.namespace, condition=condition
        )

    def template(place: int) -> Fill | None:
        found = templates.get(place)
        return None if found is None else or_own_text(found, f"routes[{place}]", tally, note)

    # A fault tells people rather than not: the route takes the alert, the mute doesn't.
    routes = [
        Route(match(each.match, f"routes[{place}]", on_fault=True), each.sink, each.channel, template(place))
        for place, each in enumerate(settings.routes)
    ]
    mutes = [
        Mute(match(each.match, f"mute[{place}]", on_fault=False), _until(each.until, f"mute[{place}]"))
        for place, each in enumerate(settings.mute)
    ]
    least = getattr(section_of(settings, sink), "minimum_priority", "debug")
    minimum = AlertMatcher(priority=_priority(least))

    def address(alert: Alert) -> RoutedAlert | None:
        verdict = route(alert, sink, minimum, routes, mutes, matching=settings.route_matching, now=time.time())
        if isinstance(verdict, RoutedAlert):
            return verdict
        if verdict == "muted":
            tally.muted += 1
        else:
            tally.suppressed += 1
        return None

    return address


def worker_of(
    sink: str,
    line: AlertQueue,
    receiver: RemoteSink,
    address: Address,
    *,
    tally: SinkStats,
    note: Callable[[str], None],
) -> Worker:
    """Put one sink's worker together."""
    return Worker(sink, line, receiver, RetryPolicy(Backoff(), random.random), address, tally=tally, on_trouble=note)


def receiver_of(
    settings: Settings,
    sink: str,
    *,
    connection: Connection | None = None,
    environment: Mapping[str, str] = os.environ,
) -> RemoteSink:
    """Give a sink's far end. Raises BadInput, and BusUnavailable for SIEM topics."""
    if sink not in sinks_of(settings):
        raise BadInput(f"sinks.{sink} is not there any more; start anew without it.")
    if sink in SIEM:
        assert connection is not None  # noqa: S101  only asked for where there is a broker
        return _siem(sink, connection)
    try:
        return _receiver(
            seen_by(settings, sink), sink, kind_of(settings, sink), secrets_of(settings, sink, environment)
        )
    except BadInput as error:
        raise BadInput(*(in_its_words(settings, sink, each) for each in error.messages)) from None


def _receiver(settings: Settings, sink: str, kind: str, environment: Mapping[str, str]) -> RemoteSink:
    if kind == "slack":
        return slack_of(settings, environment, sink)
    if kind == "webhook":
        return webhook_of(settings, environment)
    if kind == "syslog":
        return syslog_of(settings)
    if kind == "apprise":
        return apprise_of(settings, environment)
    if kind == "stdout":
        return LocalSinkAdapter(StdoutSink(sys.stdout, line_of(line_style(settings))))
    # Here alerts wait for the file, and the worker says so.
    file = file_of(settings, note=lambda _: None)
    return LocalSinkAdapter(file, lambda: f"{settings.file_output.filename}: {file.trouble}")


def line_style(settings: Settings, form: Literal["text", "json"] | None = None) -> LineStyle:
    """Give the form of a line that the settings ask for; form comes before json_output."""
    return LineStyle(
        json_output=settings.json_output if form is None else form == "json",
        time_format_iso_8601=settings.time_format_iso_8601,
        json_include_output_property=settings.json_include_output_property,
        json_include_output_fields_property=settings.json_include_output_fields_property,
        json_include_tags_property=settings.json_include_tags_property,
    )


def file_of(settings: Settings, *, note: Callable[[str], None]) -> FileSink:
    """Open the file of lines. Raises BadInput."""
    wanted = settings.file_output
    path = Path(wanted.filename)
    limit = None if wanted.rotate_mib is None else wanted.rotate_mib << 20
    line = line_of(line_style(settings, wanted.format))
    try:
        return FileSink(path, line, on_trouble=note, rotate_bytes=limit, keep=wanted.keep)
    except OSError as error:
        raise BadInput(f"file_output.filename: {path}: {error.strerror}.") from None


def slack_of(settings: Settings, environment: Mapping[str, str] = os.environ, sink: str = "slack") -> RemoteSink:
    """Give Slack, by a token if there is one, else by a webhook; sink is its name. Raises BadInput."""
    try:
        from notifier.slack.client import WebApi, Webhook  # noqa: PLC0415  needs the notifier's extra
        from notifier.slack.posted import PostedMessages  # noqa: PLC0415
        from notifier.slack.sink import SlackSink  # noqa: PLC0415
    except ModuleNotFoundError:
        raise BadInput("slack_output needs slack-sdk: pip install 'lanner[notifier]'.") from None
    wanted, problems = settings.slack_output, list[str]()
    token = secret("slack_output.token_file", "LANNER_SLACK_TOKEN", wanted.token_file, environment, problems)
    url = secret(
        "slack_output.webhook_url_file", "LANNER_SLACK_WEBHOOK_URL", wanted.webhook_url_file, environment, problems
    )
    if token and not wanted.channel:
        problems.append("slack_output.channel must be set where a bot's token is used.")
    if not token and any(each.channel for each in settings.routes if each.sink == sink):
        problems.append("routes: an incoming webhook has one channel; `channel` needs slack_output.token_file.")
    if not token and not url:
        problems.append(
            "slack_output needs an address or a token: set slack_output.webhook_url_file or token_file, or put them "
            "into $LANNER_SLACK_WEBHOOK_URL or $LANNER_SLACK_TOKEN."
        )
    elif not token and not (url.startswith("https://") or _is_loopback(url)):
        problems.append("slack_output.webhook_url_file: what it holds is no https:// address.")
    if problems:
        raise BadInput(*problems)
    if not token:
        return SlackSink(Webhook(url))
    try:
        posted = PostedMessages(Path(settings.notifier.state_dir) / f"{sink}.posted.db")
    except OSError:
        # A test alert may be sent by whoever can't write there; delivery itself says so of its line in that folder.
        posted = PostedMessages(None)
    return SlackSink(WebApi(token, wanted.channel or "", base_url=wanted.api_url), posted)


def syslog_of(settings: Settings) -> RemoteSink:
    """Give a syslog daemon that is spoken to by RFC 5424. Raises BadInput."""
    wanted = settings.syslog_output
    transport: Transport = "unix" if wanted.transport == "local" else wanted.transport
    port = wanted.port or (6514 if transport == "tls" else 514)
    target = SyslogTarget(transport, wanted.host, port, wanted.socket)
    context = None
    if transport == "tls":
        files = TlsFiles(wanted.ca_file or "", wanted.certificate_file or "", wanted.key_file or "")
        try:
            context = client_context(files)
        except BadCertificate as error:
            raise BadInput(f"syslog_output: {error}.") from None
    return RemoteSyslogSink(target, formatter(syslog_style(settings)), context=context)


def syslog_style(settings: Settings) -> SyslogStyle:
    """Give how messages of RFC 5424 are made."""
    wanted = settings.syslog_output
    most = MOST_UDP_BYTES if wanted.transport == "udp" else SyslogStyle().most_bytes
    return SyslogStyle(body=wanted.body, most_bytes=most, version=lanner.__version__)


def document_of(sink: str) -> Callable[[Alert], dict[str, Any]]:
    """Give the mapping of a SIEM topic."""
    from notifier.siem import ecs, falco, ocsf  # noqa: PLC0415  only what is asked for

    documents: dict[str, Callable[[Alert], dict[str, Any]]] = {
        "siem.falco": falco.document,
        "siem.ecs": ecs.document,
        "siem.ocsf": lambda alert: ocsf.document(alert, version=lanner.__version__),
    }
    return documents[sink]


def _siem(sink: str, connection: Connection) -> RemoteSink:
    from notifier.remote.siem import SiemSink  # noqa: PLC0415  a broker's client is needed for these alone

    return SiemSink(connection, sink, document_of(sink))


def _priority(name: str) -> str:
    return next(each for each in SEVERITY if each.lower().startswith(name))


def _until(text: str | None, where: str) -> float | None:
    if text is None:
        return None
    try:
        time_of = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{where}.until: {text!r} is no date and time, such as 2027-01-31T00:00:00Z.") from None
    if time_of.tzinfo is None:
        raise BadInput(f"{where}.until: {text!r} names no zone; end it with Z or +01:00.")
    return time_of.timestamp()


def _is_loopback(url: str) -> bool:
    """Tell it by the host alone: 127.0.0.1 may also begin a name, or stand for a user before an @."""
    try:
        return urlsplit(url).hostname == "127.0.0.1"
    except ValueError:
        return False
