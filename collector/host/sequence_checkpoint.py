"""Where the previous collector stopped counting; the next start's first batch reports it, which proves gaps."""

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The newest known batch of an earlier start."""

    start: int
    """Wall clock of that collector's start, ns."""
    sequence: int


class SequenceCheckpoint:
    """A small file beside the spool, written at most once a second; a killed collector may have sent a little more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written_at = float("-inf")

    def read(self) -> Checkpoint | None:
        """Return the previous collector's checkpoint; None if there is none that is valid."""
        try:
            noted = json.loads(self._path.read_bytes())
            return Checkpoint(int(noted["start"]), int(noted["sequence"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note(self, start: int, sequence: int, *, final: bool = False) -> None:
        """Write the newest batch. If writing fails, only the proof of a gap is lost."""
        now = time.monotonic()
        if not final and now - self._written_at < _INTERVAL_SECONDS:
            return
        self._written_at = now
        fresh = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                json.dump({"start": start, "sequence": sequence}, file)
            fresh.replace(self._path)
