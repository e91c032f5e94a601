"""A sink that prints alerts on standard output, with the journal's severity prefix under systemd."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from notifier.delivery.outcome import Delivered, RetryLater, RoutedAlert, SendOutcome
from schemas.alert import Alert
from schemas.catalogue.priorities import SEVERITY


class StdoutSink:
    """Prints one line for each alert, and flushes it."""

    batch_size = 1

    def __init__(
        self,
        stream: TextIO,
        line_of: Callable[[Alert], str],
        *,
        levels: bool = False,
        before: Callable[[], None] = lambda: None,
        ends_program: bool = False,
    ) -> None:
        """Print on a stream.

        Args:
            stream: where to print.
            line_of: renders an alert.
            levels: prefix lines with `<4>` and so on, as the journal reads it.
            before: called before each line.
            ends_program: raise BrokenPipeError when the reader of a pipe is gone, instead of retrying.
        """
        self._stream = stream
        self._line_of = line_of
        self._levels = levels
        self._before = before
        self._ends_program = ends_program

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Print the first alert."""
        alert = alerts[0].rendered
        level = f"<{SEVERITY[alert.priority]}>" if self._levels else ""
        self._before()
        try:
            self._stream.write(f"{level}{self._line_of(alert)}\n")
            self._stream.flush()
        except BrokenPipeError:
            if self._ends_program:
                raise
            return RetryLater("the reader of standard output is gone")
        return Delivered()

    def idle(self) -> None:
        """Do nothing."""

    def reopen(self) -> None:
        """Do nothing: the stream belongs to the process."""

    def close(self) -> None:
        """Do nothing: the stream belongs to the process."""


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Return whether a descriptor is the journal's stream itself, not a pipe or file that replaces it.

    Source: systemd.exec(5): $JOURNAL_STREAM holds the device and inode of the stream.
    """
    named = environment.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return named == f"{status.st_dev}:{status.st_ino}"
