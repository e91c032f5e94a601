"""The sinks of `lanner run` and `lanner replay`: names and settings in, deliveries that accept alerts out."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.named import KINDS, section_of
from lanner.wiring.routes.routers import RouterFactory, routers_of
from lanner.wiring.sinks.printing.printed import alert_lines
from lanner.wiring.sinks.registry import open_direct, open_sink, worker_of
from notifier.delivery.outputs import AlertDelivery, DirectDelivery, OutboxDelivery
from notifier.delivery.sink import Sink
from notifier.delivery.stats import SinkStats
from notifier.local.stdout import StdoutSink, is_journal
from notifier.queue.database import DatabaseUnusable
from notifier.queue.outbox import Outbox
from schemas.text.notes import OnNote

JOURNAL_SOCKET = "/run/systemd/journal/dev-log"


def enabled_sinks(settings: Settings) -> tuple[str, ...]:
    """Return the names of the sinks that the settings enable, in the order in which they are opened."""
    named = [name for name in (*KINDS, *settings.sinks) if (section := section_of(settings, name)) and section.enabled]
    is_twice = is_journal(1, os.environ) and _syslog_is_journal(settings)
    return ("stdout", *named) if settings.stdout_output.enabled and not is_twice else tuple(named)


def open_sinks(
    settings: Settings, names: Iterable[str], *, note: OnNote, before_line: Callable[[], None]
) -> list[AlertDelivery]:
    """Open the named sinks, and no others.

    Args:
        settings: all settings.
        names: of the sinks; `enabled_sinks` for those that the settings enable.
        note: called with problems that occur while the sinks run.
        before_line: called before each line on standard output.

    Raises:
        BadInput: the settings of a sink are wrong.
    """
    routers = routers_of(settings, note)
    deliveries: list[AlertDelivery] = []
    for name in names:
        sink = _stdout(settings, before_line) if name == "stdout" else open_direct(settings, name, note)
        if sink is None:
            deliveries.append(_with_outbox(settings, name, routers, note))
        else:
            stats = SinkStats()
            deliveries.append(DirectDelivery(name, sink, routers(name, stats), stats, note))
    return deliveries


def _stdout(settings: Settings, before_line: Callable[[], None]) -> Sink:
    levels = is_journal(1, os.environ)
    line = alert_lines(settings, sys.stdout)
    return StdoutSink(sys.stdout, line, levels=levels, before=before_line, ends_program=True)


def _with_outbox(settings: Settings, name: str, routers: RouterFactory, note: OnNote) -> OutboxDelivery:
    """Open a sink whose undelivered alerts wait on disk. Raises BadInput."""
    path = Path(settings.notifier.state_dir) / f"{name}.outbox.db"
    stats = SinkStats()
    router = routers(name, stats)
    sink = open_sink(settings, name)
    try:
        outbox = Outbox(path, capacity=settings.notifier.outbox_alerts)
    except DatabaseUnusable as error:
        raise BadInput(f"notifier.state_dir: {error}.") from None
    return OutboxDelivery(name, outbox, worker_of(name, outbox, sink, router, stats=stats, report=note), note)


def _syslog_is_journal(settings: Settings) -> bool:
    """Return whether syslog also leads to the journal, as wherever systemd listens on /dev/log."""
    return settings.syslog_output.enabled and os.path.realpath(settings.syslog_output.socket) == JOURNAL_SOCKET
