"""Sinks that write lines: standard output, files and syslog."""

import sys
from pathlib import Path

import lanner
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.forms.paths import why_no_file
from lanner.settings.sections.model import SyslogOutput
from lanner.wiring.sinks.kinds import Opener, SinkContext, line_style, text_preview, tls_of
from lanner.wiring.sinks.printing.printed import alert_lines
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.sink import Sink
from notifier.formats.rfc5424 import SyslogStyle, formatter
from notifier.formats.text import line_of
from notifier.local.file import FileSink
from notifier.local.stdout import StdoutSink
from notifier.local.syslog import SyslogSink
from notifier.remote.syslog import RemoteSyslogSink, SyslogTarget, Transport

MAX_UDP_BYTES = 2048
"""What every receiver must accept. Source: RFC 5426, section 3.2."""


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
    section = context.section
    transport: Transport = "unix" if section.transport == "local" else section.transport
    port = section.port or (6514 if transport == "tls" else 514)
    target = SyslogTarget(transport, section.host, port, section.socket)
    faults: list[SettingFault] = []
    tls = tls_of("syslog_output", section, faults) if transport == "tls" else None
    if faults:
        raise BadSettings(*faults)
    return lambda: RemoteSyslogSink(target, formatter(_syslog_style(section)), context=tls)


def preview_syslog(context: SinkContext, routed: RoutedAlert) -> str:
    """Return the message, as the transport sends it."""
    if context.section.transport == "local":
        return text_preview(context, routed)
    return formatter(_syslog_style(context.section))(routed.rendered).decode("utf-8", "replace")


def _syslog_style(section: SyslogOutput) -> SyslogStyle:
    limit = MAX_UDP_BYTES if section.transport == "udp" else SyslogStyle().max_bytes
    return SyslogStyle(body=section.body, max_bytes=limit, version=lanner.__version__)
