"""A sink that prints alerts on standard output; under systemd, the journal's level stands in front."""

import os
from collections.abc import Callable, Mapping
from typing import TextIO

from notifier.formats.severity import SEVERITY
from notifier.local.sink import LocalStats
from schemas.alert import Alert


class StdoutSink:
    """One line an alert, flushed at once: whoever reads the pipe acts on it."""

    def __init__(
        self,
        stream: TextIO,
        line_of: Callable[[Alert], str],
        *,
        levels: bool = False,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Print on stream.

        line_of renders an alert; levels puts `<4>` and the like in front; before is called ahead of each line.
        """
        self.name = "stdout"
        self.tally = LocalStats()
        self._stream = stream
        self._line_of = line_of
        self._levels = levels
        self._before = before

    def send(self, alert: Alert) -> None:
        """Print one line. Raises BrokenPipeError when nobody reads any more."""
        level = f"<{SEVERITY[alert.priority]}>" if self._levels else ""
        self._before()
        self._stream.write(f"{level}{self._line_of(alert)}\n")
        self._stream.flush()
        self.tally.sent += 1

    def reopen(self) -> None:
        """Nothing to open anew."""

    def close(self) -> None:
        """Leave the stream to its owner."""


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Tell whether a descriptor leads to the journal itself and not to a pipe or file put in its place.

    Source: systemd.exec(5), $JOURNAL_STREAM is the device and inode of the stream.
    """
    named = environment.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return named == f"{status.st_dev}:{status.st_ino}"
