"""The alerts of a recording: once, or again whenever its files changed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from lanner.recorder.rolling.alerts import stored_alerts
from lanner.recorder.rolling.recording import ALERTS
from schemas.alert import Alert

MAX_BATCH = 500
_LOOK_SECONDS = 2.0


class RecordedAlerts:
    """Reads a recording. The view skips what it has already."""

    def __init__(self, path: Path, *, follow: bool) -> None:
        """Begin.

        Args:
            path: the folder of a recording, or one file of alerts.
            follow: read again when `lanner run` has written more.
        """
        self._path = path
        self._follow = follow
        self._state = self._files()
        self._alerts: Iterator[Alert] = stored_alerts(path)
        self._look_at = 0.0

    def read(self, seconds: float) -> Sequence[Alert]:
        """Return the next alerts; wait at most so many seconds. Raises OSError."""
        found = list(islice(self._alerts, MAX_BATCH))
        if found:
            return found
        time.sleep(seconds)
        if self._follow and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            state = self._files()
            if state != self._state:
                self._state = state
                self._alerts = stored_alerts(self._path)
        return ()

    def positions(self) -> Mapping[int, int]:
        """Return nothing: a recording is read from its beginning."""
        return {}

    def lag(self) -> Mapping[tuple[str, ...], int]:
        """Return nothing: how many alerts follow in the files is not known."""
        return {}

    def close(self) -> None:
        """Do nothing."""

    def _files(self) -> Mapping[str, int]:
        return {file.name: file.stat().st_size for file in (self._path / ALERTS).glob("*.avro")} if self._follow else {}
