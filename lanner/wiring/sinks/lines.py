"""Sinks that write lines: standard output, files and syslog."""

import sys
from pathlib import Path

import lanner
from lanner.errors import BadInput
from lanner.settings.sections.model import SyslogOutput
from lanner.wiring.sinks.kinds import SinkContext, line_style, text_preview
from lanner.wiring.sinks.printed import alert_lines
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.sink import Sink
from notifier.formats.rfc5424 import SyslogStyle, formatter
from notifier.formats.text import line_of
from notifier.local.file import FileSink
from notifier.local.stdout import StdoutSink
from notifier.local.syslog import SyslogSink
from notifier.remote.syslog import RemoteSyslogSink, SyslogTarget, Transport
from notifier.remote.tls import BadCertificate, TlsFiles, client_context

MAX_UDP_BYTES = 2048
"""What every receiver must accept. Source: RFC 5426, section 3.2."""


def open_stdout(context: SinkContext) -> Sink:
    """Return standard output as a sink."""
    return StdoutSink(sys.stdout, alert_lines(context.settings, sys.stdout))


def open_file(context: SinkContext) -> Sink:
    """Open the file. Raises BadInput."""
    section = context.section
    path = Path(section.filename)
    limit = None if section.rotate_mib is None else section.rotate_mib << 20
    line = line_of(line_style(context.settings, section.format))
    try:
        return FileSink(path, line, report=context.report, rotate_bytes=limit, keep=section.keep)
    except OSError as error:
        raise BadInput(f"file_output.filename: {path}: {error.strerror}.") from None


def preview_file(context: SinkContext, routed: RoutedAlert) -> str:
    """Return the line for the file."""
    return line_of(line_style(context.settings, context.section.format))(routed.rendered)


def open_local_syslog(context: SinkContext) -> Sink | None:
    """Return the local daemon as other programs log to it; None for transports that an outbox feeds."""
    if context.section.transport != "local":
        return None
    return SyslogSink(context.section.socket, line_of(line_style(context.settings)))


def open_syslog(context: SinkContext) -> Sink:
    """Return a syslog daemon that is sent RFC 5424 messages. Raises BadInput."""
    section = context.section
    transport: Transport = "unix" if section.transport == "local" else section.transport
    port = section.port or (6514 if transport == "tls" else 514)
    target = SyslogTarget(transport, section.host, port, section.socket)
    tls = None
    if transport == "tls":
        files = TlsFiles(section.ca_file or "", section.certificate_file or "", section.key_file or "")
        try:
            tls = client_context(files)
        except BadCertificate as error:
            raise BadInput(f"syslog_output: {error}.") from None
    return RemoteSyslogSink(target, formatter(_syslog_style(section)), context=tls)


def preview_syslog(context: SinkContext, routed: RoutedAlert) -> str:
    """Return the message, as the transport sends it."""
    if context.section.transport == "local":
        return text_preview(context, routed)
    return formatter(_syslog_style(context.section))(routed.rendered).decode("utf-8", "replace")


def _syslog_style(section: SyslogOutput) -> SyslogStyle:
    limit = MAX_UDP_BYTES if section.transport == "udp" else SyslogStyle().max_bytes
    return SyslogStyle(body=section.body, max_bytes=limit, version=lanner.__version__)
