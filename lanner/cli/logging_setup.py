"""Logging of the services: structlog to standard error, as text or as one JSON object per line.

The Kafka client's log goes the same way, and Faust's by way of the processor's worker. Other libraries are silenced,
because some log URLs, which may contain secrets.
"""

import logging
import sys

from bus.connection import CLIENT_LOG
from lanner.cli.terminal.output import Level, coloured, journal_prefix, speak_through
from lanner.settings import Settings
from schemas.text.printable import printable_lines

# Where rich is there, structlog loads it for tracebacks, of which none is printed here: 4 MiB of every service.
_IS_LOADED = "rich" in sys.modules
if not _IS_LOADED:
    sys.modules["rich"] = None  # type: ignore[assignment]  # as the import system says: there is none
import structlog  # noqa: E402
from structlog.typing import EventDict, Processor, WrappedLogger  # noqa: E402

if not _IS_LOADED:
    del sys.modules["rich"]

_MAX_TEXT = 4000
_SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def log_through_structlog(settings: Settings, stage: str) -> None:
    """Send Lanner's messages and the libraries' logs through structlog from now on.

    Args:
        settings: log level and format.
        stage: named in each JSON object.

    """
    level = _LEVELS[settings.log_level]
    shared: list[Processor] = [structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, _safe]
    form = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_ending(settings, stage)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(form)
    # Without a handler, Python prints warnings of other libraries.
    logging.root.addHandler(logging.NullHandler())
    for name, least in (
        ("lanner", level),
        # Verbose and meant for its developers; what an operator needs is reported through callbacks.
        (CLIENT_LOG, level if level == logging.DEBUG else logging.CRITICAL),
    ):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(least)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    ours = structlog.stdlib.get_logger("lanner")

    def log(level: Level, text: str) -> None:
        ours.log(_LEVELS[level], text)

    speak_through(log)


def _ending(settings: Settings, stage: str) -> list[Processor]:
    now = structlog.processors.TimeStamper(fmt="iso", utc=True)
    if settings.log_format == "json":

        def named(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
            entry["stage"] = stage
            return entry

        return [now, named, structlog.processors.JSONRenderer()]
    if journal_prefix(6):
        return [_journal_line]
    return [now, structlog.dev.ConsoleRenderer(colors=coloured(sys.stderr), pad_event_to=0, pad_level=False)]


def _safe(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
    """Escape control characters, so that hostile text can't change the terminal, and bound the length."""
    entry["event"] = printable_lines(str(entry.get("event", "")))[:_MAX_TEXT]
    return entry


def _journal_line(_: WrappedLogger, __: str, entry: EventDict) -> str:
    name = "" if entry["logger"] == "lanner" else f"{entry['logger']}: "
    prefix = journal_prefix(_SYSLOG.get(entry["level"], 6))
    return "\n".join(f"{prefix}{name}{line}" for line in entry["event"].split("\n"))
