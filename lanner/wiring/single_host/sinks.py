"""The sinks that the settings ask for."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from lanner.cli.terminal.output import coloured, paint
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.named import KINDS, in_its_words, section_of, seen_by
from lanner.settings.sections.model import FileOutput, SyslogOutput
from lanner.wiring.sinks.registry import addresses_of, file_of, line_style, receiver_of, worker_of
from notifier.delivery.stats import SinkStats
from notifier.delivery.worker import Address
from notifier.formats.text import Line, line_of
from notifier.local.adapters import RoutedSink
from notifier.local.outbox_sink import OutboxSink
from notifier.local.sink import Sink
from notifier.local.stdout import StdoutSink, is_journal
from notifier.local.syslog import SyslogSink
from notifier.queue.outbox import Outbox, OutboxUnusable

JOURNAL_SOCKET = "/run/systemd/journal/dev-log"


def open_sinks(settings: Settings, *, note: Callable[[str], None], before_line: Callable[[], None]) -> list[Sink]:
    """Open all sinks that are on.

    note is told of troubles; before_line is called ahead of each line on standard output. Raises BadInput.
    """
    line = line_of(line_style(settings))
    sinks: list[Sink] = []
    addresses = addresses_of(settings, note)

    def routed(name: str, sink: Sink) -> Sink:
        tally = SinkStats()
        return RoutedSink(name, sink, addresses(name, tally), tally)

    in_journal = is_journal(1, os.environ)
    if settings.stdout_output.enabled and not (in_journal and _is_twice(settings)):
        shown = _painted(line) if coloured(sys.stdout) and not settings.json_output else line
        sinks.append(routed("stdout", StdoutSink(sys.stdout, shown, levels=in_journal, before=before_line)))
    for name in (*KINDS, *settings.sinks):
        section, own = section_of(settings, name), seen_by(settings, name)
        if section is None or not section.enabled:
            continue
        if isinstance(section, FileOutput):
            try:
                sinks.append(routed(name, file_of(own, note=note)))
            except BadInput as error:
                raise BadInput(*(in_its_words(settings, name, each) for each in error.messages)) from None
        elif isinstance(section, SyslogOutput) and section.transport == "local":
            sinks.append(routed(name, SyslogSink(section.socket, line, on_trouble=note)))
        else:
            sinks.append(_with_outbox(settings, name, addresses, note))
    return sinks


def _with_outbox(
    settings: Settings, name: str, addresses: Callable[[str, SinkStats], Address], note: Callable[[str], None]
) -> Sink:
    """Give a network sink: what it can't deliver yet waits on disk. Raises BadInput."""
    path = Path(settings.notifier.state_dir) / f"{name}.outbox.db"
    tally = SinkStats()
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
