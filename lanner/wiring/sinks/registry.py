"""The registry of sinks: opens and previews a sink by its name."""

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bus.clients.backoff import Backoff
from bus.connection import Connection
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.named import in_its_words, kind_of, secrets_of, section_of, sinks_of
from lanner.wiring.sinks import siem
from lanner.wiring.sinks.apprise import open_apprise, preview_apprise
from lanner.wiring.sinks.kinds import SinkContext, SinkKind
from lanner.wiring.sinks.lines import (
    open_file,
    open_local_syslog,
    open_stdout,
    open_syslog,
    preview_file,
    preview_syslog,
)
from lanner.wiring.sinks.slack import open_slack, preview_slack
from lanner.wiring.sinks.webhook import open_webhook, preview_webhook
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.retry import RetryPolicy
from notifier.delivery.routing import Router
from notifier.delivery.sink import Sink
from notifier.delivery.stats import SinkStats
from notifier.delivery.worker import AlertQueue, Worker
from schemas.text.notes import OnNote, ignore_note

SINKS: dict[str, SinkKind] = {
    "stdout": SinkKind(open_stdout),
    "file": SinkKind(open_file, preview_file, open_direct=open_file),
    "syslog": SinkKind(open_syslog, preview_syslog, open_direct=open_local_syslog),
    "slack": SinkKind(open_slack, preview_slack, has_channels=True),
    "webhook": SinkKind(open_webhook, preview_webhook),
    "apprise": SinkKind(open_apprise, preview_apprise),
    "siem.falco": siem.siem_kind(siem.falco),
    "siem.ecs": siem.siem_kind(siem.ecs),
    "siem.ocsf": siem.siem_kind(siem.ocsf),
}
"""Every kind of sink. A new sink is one line here, its section of the settings, and its module."""


def open_sink(
    settings: Settings,
    sink: str,
    *,
    connection: Connection | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Sink:
    """Open a sink that a queue feeds. Raises BadInput, and BusUnavailable for SIEM topics."""
    kind, context = _resolve(settings, sink, environment=environment, connection=connection)
    with _messages_of(settings, sink):
        return kind.open(context)


def open_direct(settings: Settings, sink: str, report: OnNote) -> Sink | None:
    """Open a sink that `lanner run` feeds without an outbox; None if it needs one.

    Args:
        settings: all settings.
        sink: its name.
        report: called with problems that occur while the sink runs.

    Raises:
        BadInput: the sink's settings are wrong.
    """
    kind, context = _resolve(settings, sink, report=report)
    with _messages_of(settings, sink):
        return kind.open_direct(context)


def preview_routed(settings: Settings, sink: str, routed: RoutedAlert) -> str:
    """Return the message, body or line that a sink makes of an alert. Raises BadInput."""
    kind, context = _resolve(settings, sink)
    with _messages_of(settings, sink):
        return kind.preview(context, routed)


def worker_of(
    sink: str,
    queue: AlertQueue,
    opened: Sink,
    router: Router,
    *,
    stats: SinkStats,
    report: OnNote,
) -> Worker:
    """Return a worker with the standard retry policy."""
    return Worker(sink, queue, opened, RetryPolicy(Backoff(), random.random), router, stats=stats, report=report)


def _resolve(
    settings: Settings,
    sink: str,
    *,
    environment: Mapping[str, str] = os.environ,
    connection: Connection | None = None,
    report: OnNote = ignore_note,
) -> tuple[SinkKind, SinkContext]:
    if sink not in sinks_of(settings):
        raise BadInput(f"sinks.{sink} is no longer in the settings; restart without it.")
    secrets = secrets_of(settings, sink, environment)
    context = SinkContext(sink, section_of(settings, sink), settings, secrets, connection, report)
    return SINKS[kind_of(settings, sink)], context


@contextmanager
def _messages_of(settings: Settings, sink: str) -> Iterator[None]:
    """Raise each BadInput again with the names that the settings have for this sink."""
    try:
        yield
    except BadInput as error:
        raise BadInput(*(in_its_words(settings, sink, each) for each in error.messages)) from None
