"""The sinks that the settings ask for."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from lanner.delivering import addresses_of, receiver_of, worker_of
from lanner.failures import BadInput
from lanner.settings import Settings
from lanner.terminal import coloured, paint
from notifier.file import FileSink
from notifier.lines import Line, LineStyle, line_of
from notifier.outbox import Outbox, OutboxUnusable
from notifier.outbox_sink import OutboxSink
from notifier.sink import Sink
from notifier.stdout import StdoutSink, is_journal
from notifier.syslog import SyslogSink
from notifier.tally import SinkTally

JOURNAL_SOCKET = "/run/systemd/journal/dev-log"


def line_style(settings: Settings) -> LineStyle:
    """Give the form of a line that the settings ask for."""
    return LineStyle(
        json_output=settings.json_output,
        time_format_iso_8601=settings.time_format_iso_8601,
        json_include_output_property=settings.json_include_output_property,
        json_include_output_fields_property=settings.json_include_output_fields_property,
        json_include_tags_property=settings.json_include_tags_property,
    )


def open_sinks(settings: Settings, *, note: Callable[[str], None], before_line: Callable[[], None]) -> list[Sink]:
    """Open all sinks that are on.

    note is told of troubles; before_line is called ahead of each line on standard output. Raises BadInput.
    """
    line = line_of(line_style(settings))
    sinks: list[Sink] = []
    in_journal = is_journal(1, os.environ)
    if settings.stdout_output.enabled and not (in_journal and _is_twice(settings)):
        shown = _painted(line) if coloured(sys.stdout) and not settings.json_output else line
        sinks.append(StdoutSink(sys.stdout, shown, levels=in_journal, before=before_line))
    if settings.file_output.enabled:
        path = Path(settings.file_output.filename)
        try:
            sinks.append(FileSink(path, line, on_trouble=note))
        except OSError as error:
            raise BadInput(f"file_output.filename: {path}: {error.strerror}.") from None
    if settings.slack_output.enabled:
        sinks.append(_with_outbox(settings, "slack", note))
    if settings.syslog_output.enabled and settings.syslog_output.transport != "local":
        sinks.append(_with_outbox(settings, "syslog", note))
    elif settings.syslog_output.enabled:
        sinks.append(SyslogSink(settings.syslog_output.socket, line, on_trouble=note))
    return sinks


def _with_outbox(settings: Settings, name: str, note: Callable[[str], None]) -> Sink:
    """Give a network sink: what it can't deliver yet waits on disk. Raises BadInput."""
    path = Path(settings.notifier.state_dir) / f"{name}.outbox.db"
    tally = SinkTally()
    address = addresses_of(settings, note)(name, tally)
    receiver = receiver_of(settings, name, note=note)
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
