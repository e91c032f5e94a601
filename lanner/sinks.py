"""The sinks that the settings ask for."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from lanner.delivering import addresses_of, file_of, line_style, receiver_of, worker_of
from lanner.failures import BadInput
from lanner.settings import Settings
from lanner.terminal import coloured, paint
from notifier.lines import Line, line_of
from notifier.local import RoutedSink
from notifier.outbox import Outbox, OutboxUnusable
from notifier.outbox_sink import OutboxSink
from notifier.sink import Sink
from notifier.stdout import StdoutSink, is_journal
from notifier.syslog import SyslogSink
from notifier.tally import SinkTally
from notifier.worker import Address

JOURNAL_SOCKET = "/run/systemd/journal/dev-log"


def open_sinks(settings: Settings, *, note: Callable[[str], None], before_line: Callable[[], None]) -> list[Sink]:
    """Open all sinks that are on.

    note is told of troubles; before_line is called ahead of each line on standard output. Raises BadInput.
    """
    line = line_of(line_style(settings))
    sinks: list[Sink] = []
    addresses = addresses_of(settings, note)

    def routed(sink: Sink) -> Sink:
        tally = SinkTally()
        return RoutedSink(sink, addresses(sink.name, tally), tally)

    in_journal = is_journal(1, os.environ)
    if settings.stdout_output.enabled and not (in_journal and _is_twice(settings)):
        shown = _painted(line) if coloured(sys.stdout) and not settings.json_output else line
        sinks.append(routed(StdoutSink(sys.stdout, shown, levels=in_journal, before=before_line)))
    if settings.file_output.enabled:
        sinks.append(routed(file_of(settings, note=note)))
    for name, section in (
        ("slack", settings.slack_output),
        ("webhook", settings.webhook_output),
        ("apprise", settings.apprise_output),
    ):
        if section.enabled:
            sinks.append(_with_outbox(settings, name, addresses, note))
    if settings.syslog_output.enabled and settings.syslog_output.transport != "local":
        sinks.append(_with_outbox(settings, "syslog", addresses, note))
    elif settings.syslog_output.enabled:
        sinks.append(routed(SyslogSink(settings.syslog_output.socket, line, on_trouble=note)))
    return sinks


def _with_outbox(
    settings: Settings, name: str, addresses: Callable[[str, SinkTally], Address], note: Callable[[str], None]
) -> Sink:
    """Give a network sink: what it can't deliver yet waits on disk. Raises BadInput."""
    path = Path(settings.notifier.state_dir) / f"{name}.outbox.db"
    tally = SinkTally()
    address = addresses(name, tally)
    receiver = receiver_of(settings, name)
    try:
        outbox = Outbox(path, most=settings.notifier.outbox_alerts)
    except OutboxUnusable as error:
        raise BadInput(f"notifier.state_dir: {error}.") from None
    worker = worker_of(name, outbox, receiver, address, tally=tally, note=note)
    return OutboxSink(name, outbox, worker, address, note)


def _is_twice(settings: Settings) -> bool:
    """Tell whether syslog leads to the journal too, as it does wherever systemd listens on /dev/log."""
    return settings.syslog_output.enabled and os.path.realpath(settings.syslog_output.socket) == JOURNAL_SOCKET


def _painted(line: Line) -> Line:
    return lambda alert: paint(line(alert), alert.priority)
