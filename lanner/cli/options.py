"""What commands share: options for the source and times, the progress of a search, questions, and written files."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from foundation.quantities import UNITS, parse_duration, parse_size
from lanner.errors import BadInput
from lanner.process import Signals
from lanner.settings import Settings
from lanner.settings.sections.model import KafkaSettings
from lanner.terminal.output import StatusLine, note


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose the source, which are passed as `file` and `topic`."""
    path = click.Path(path_type=Path)
    file = "Read this recording: a folder of `lanner run`, one file, or an archive."
    topic = "Read the topics of the fleet."
    function = click.option("--topic", is_flag=True, help=f"{topic}  [default: if a broker is configured]")(function)
    return click.option("--file", type=path, metavar="PATH", help=f"{file}  [default: this host's own]")(function)


alone_option = click.option(
    "--alone", is_flag=True, help="Load rule files without the built-in rules and /etc/lanner/rules.d."
)
"""The option of commands that load a draft on top of the active rules."""


draft_option = click.option(
    "--draft", multiple=True, metavar="PATH", help="Load these rules after the active ones; repeatable."
)
"""The option of commands whose arguments aren't rule files, to load a draft on top of the active rules."""


def chosen_recording(settings: Settings, file: Path | None, *, topic: bool, quiet: bool) -> Path | None:
    """Return the recording to read, or None for the topics of a fleet.

    Args:
        settings: if they say nothing about Kafka, this host's own recording is read.
        file: the recording that was named.
        topic: whether the topics were named.
        quiet: don't report which recording is read.

    Raises:
        BadInput: No broker is configured, and there is no recording that this user can read.
        click.UsageError: Both were named.
    """
    if file is not None and topic:
        raise click.UsageError("give either --file or --topic.")
    if file is None and (topic or settings.kafka != KafkaSettings()):
        return None
    # Imported here, because `lanner run` begins to load its program before it imports what it needs later.
    from lanner.recorder.store import is_archive  # noqa: PLC0415

    chosen = Path(settings.keep.folder) if file is None else file
    try:
        if not chosen.is_file() and not is_archive(chosen):
            os.scandir(chosen).close()
    except FileNotFoundError:
        if file is not None:
            raise BadInput(f"{file}: no such file or folder.") from None
        raise BadInput(
            f"no broker is configured, and this host has no recording in {chosen}, where `lanner run` stores it. "
            f"--topic reads from the broker at {settings.kafka.bootstrap_servers}, --file from another recording."
        ) from None
    except PermissionError:
        raise BadInput(f"{chosen}: Permission denied: recordings are private; use sudo.") from None
    except OSError as error:
        raise BadInput(f"{chosen}: {error.strerror}.") from None
    if file is None and not quiet:
        note(f"reading this host's own recording in {chosen}; --topic reads a fleet's.")
    return chosen


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a command that Ctrl-C ends early."""

    stop: Callable[[], bool]
    """Returns whether to end."""
    show: Callable[[str], None]
    """Draws the status line."""
    clear: Callable[[], None]
    """Erases it before something else is printed."""


@contextmanager
def progress(*, quiet: bool, restores: bool = False) -> Iterator[Progress]:
    """Handle Ctrl-C and draw a status line inside, unless quiet.

    With restores, signals are handled as before afterwards, for a command that works on.
    """
    status = StatusLine(sys.stderr, enabled=not quiet)
    with Signals(restores=restores) as signals:
        try:
            yield Progress(lambda: signals.stop, status.show, status.clear)
        finally:
            status.clear()


def agreed(question: str, otherwise: str) -> bool:
    """Ask a person; return whether they agree. Raises UsageError without a terminal. otherwise: what to do then."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"Can't ask for confirmation without a terminal: {otherwise}.")
    return click.confirm(question)


def write_text(path: Path, text: str) -> None:
    """Write a file that a person named. Raises BadInput."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: can't be written: {error.strerror}.") from None


_UNITS = ("ms", "s", "m", "h", "d")


def time_ms(text: str | None, option: str, now: int) -> int | None:
    """Parse a time, such as 30m, 24h or 7d (before now), or 2026-11-24T14:31:30 (local time unless it names a zone).

    Return milliseconds since the epoch, as now is; None for None. The option is named in the error.

    Raises:
        BadInput: The text is not a valid time.
    """
    if text is None:
        return None
    try:
        return now - duration_ms(text)
    except ValueError:
        pass
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise BadInput(
            f"{option}: {text!r} is not a valid time. Use a duration before now (30m, 24h, 7d), or 2026-11-24T14:31:30."
        ) from None


def duration_ms(text: str) -> int:
    """Parse a duration such as 90s, 30m, 24h or 7d; return milliseconds. Raises ValueError."""
    nanoseconds = parse_duration(text, _UNITS)
    if not nanoseconds:
        raise ValueError(f"{text!r} is not a valid duration: write it as 90s, 30m, 24h or 7d")
    return nanoseconds // UNITS["ms"]


def parse_duration_ms(text: str, option: str) -> int:
    """Parse a duration, ms. Raises BadInput."""
    try:
        return duration_ms(text)
    except ValueError as error:
        raise BadInput(f"{option}: {error}.") from None


def size_mib(text: str) -> int:
    """Parse a size such as 256MB or 1GiB, in MiB, at least 1; 0 stands for no recording. Raises BadInput."""
    if text == "0":
        return 0
    size = parse_size(text)
    if size is None:
        raise BadInput(f"--keep {text}: must be a size such as 256MB or 2GiB, or 0 to record nothing.")
    return max(size >> 20, 1)
