"""How alerts are printed on a stream: for people, as Falco's line, or as JSON."""

import shutil
from dataclasses import replace
from typing import TextIO

from lanner.cli.terminal.alert_text import AlertText
from lanner.cli.terminal.output import coloured, paint
from lanner.settings import Settings
from lanner.wiring.sinks.kinds import line_style
from notifier.formats.text import Line, line_of


def alert_lines(settings: Settings, stream: TextIO) -> Line:
    """Return a function that renders alerts for a stream.

    The form is that of `stdout_output.format`; by default JSON if `json_output` is set, else text on a terminal and
    Falco's line elsewhere.
    """
    form = settings.stdout_output.format or ("json" if settings.json_output else None)
    if form is None:
        form = "text" if stream.isatty() else "line"
    if form == "text":
        width = _terminal_width if stream.isatty() else _no_width
        return AlertText(width, is_coloured=coloured(stream), is_iso=settings.time_format_iso_8601)
    line = line_of(replace(line_style(settings), json_output=form == "json"))
    is_painted = form == "line" and coloured(stream)
    return (lambda alert: paint(line(alert), alert.priority)) if is_painted else line


def _terminal_width() -> int:
    return shutil.get_terminal_size().columns


def _no_width() -> int:
    return 0
