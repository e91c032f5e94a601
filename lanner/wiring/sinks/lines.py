"""Sinks that write lines: standard output, files and syslog."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TextIO

import lanner
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.forms import why_no_file
from lanner.settings.sections.sinks import SyslogOutput
from lanner.terminal.alert_text import AlertText
from lanner.terminal.output import coloured, paint
from lanner.wiring.sinks.kinds import Opener, SinkContext, line_style, text_preview, tls_of
from notifier.formats.falco import Line, line_of
from notifier.formats.syslog import SyslogStyle, message
from notifier.sink import RoutedAlert, Sink
from notifier.sinks.lines import FileSink, StdoutSink, SyslogSink


def alert_lines(settings: Settings, stream: TextIO) -> Line:
    """Return a function that renders alerts for a stream.

    The form is that of `stdout_output.format`; by default JSON if `json_output` is set, else text on a terminal and
    Falco's line elsewhere.
    """
    form = settings.stdout_output.format or ("json" if settings.json_output else None)
    if form is None:
        form = "text" if stream.isatty() else "line"
    if form == "text":
        width = _terminal_width if stream.isatty() else (lambda: 0)
        return AlertText(width, is_coloured=coloured(stream), is_iso=settings.time_format_iso_8601)
    line = line_of(replace(line_style(settings), json_output=form == "json"))
    is_painted = form == "line" and coloured(stream)
    return (lambda alert: paint(line(alert), alert.priority)) if is_painted else line


def _terminal_width() -> int:
    # Imported here, because a service has no terminal: 0.1 MiB.
    from shutil import get_terminal_size

    return get_terminal_size().columns


MAX_UDP_BYTES = 2048
"""The length that every receiver must accept. Source: RFC 5426, section 3.2."""


def prepare_stdout(context: SinkContext) -> Opener:
    """Return what makes standard output a sink."""
    return lambda: StdoutSink(sys.stdout, alert_lines(context.settings, sys.stdout))


def prepare_file(context: SinkContext) -> Opener:
    """Return what opens the file. Raises BadSettings."""
    section = context.section
    path = Path(section.filename)
    if why := why_no_file(path):
        raise BadSettings(_file_fault(path, why))
    limit = None if section.rotate_mib is None else section.rotate_mib << 20
    line = line_of(line_style(context.settings, section.format))

    def open_file() -> Sink:
        try:
            return FileSink(path, line, report=context.report, rotate_bytes=limit, keep=section.keep)
        except OSError as error:
            raise BadSettings(_file_fault(path, error.strerror or "can't be opened")) from None

    return open_file


def _file_fault(path: Path, why: str) -> SettingFault:
    return SettingFault("file_output.filename", f"file_output.filename: {path}: {why}.")


def preview_file(context: SinkContext, routed: RoutedAlert) -> str:
    """Return the line for the file."""
    return line_of(line_style(context.settings, context.section.format))(routed.rendered)


def prepare_local_syslog(context: SinkContext) -> Opener | None:
    """Return what opens the local daemon as other programs log to it; None for transports that an outbox feeds."""
    if context.section.transport != "local":
        return None
    return lambda: SyslogSink(context.section.socket, line_of(line_style(context.settings)))


def prepare_syslog(context: SinkContext) -> Opener:
    """Return what opens a syslog daemon that is sent RFC 5424 messages. Raises BadSettings."""
    from notifier.sinks.syslog import RemoteSyslogSink, SyslogTarget, Transport

    section = context.section
    transport: Transport = "unix" if section.transport == "local" else section.transport
    port = section.port or (6514 if transport == "tls" else 514)
    target = SyslogTarget(transport, section.host, port, section.socket)
    faults: list[SettingFault] = []
    tls = tls_of("syslog_output", section, faults) if transport == "tls" else None
    if faults:
        raise BadSettings(*faults)
    return lambda: RemoteSyslogSink(target, partial(message, style=_syslog_style(section)), context=tls)


def preview_syslog(context: SinkContext, routed: RoutedAlert) -> str:
    """Return the message, as the transport sends it."""
    if context.section.transport == "local":
        return text_preview(context, routed)
    return message(routed.rendered, _syslog_style(context.section)).decode("utf-8", "replace")


def _syslog_style(section: SyslogOutput) -> SyslogStyle:
    limit = MAX_UDP_BYTES if section.transport == "udp" else SyslogStyle().max_bytes
    return SyslogStyle(body=section.body, max_bytes=limit, version=lanner.__version__)
