"""A sink that appends lines to a file, for what collects log files."""

import os
from collections.abc import Callable
from pathlib import Path

from notifier.local.sink import LocalStats
from schemas.alert import Alert

MODE = 0o600
"""Alerts quote command lines, and command lines hold secrets."""


class FileSink:
    """Appends one line an alert; a full disk loses lines, counted, and not the program."""

    def __init__(
        self,
        path: Path,
        line_of: Callable[[Alert], str],
        *,
        on_trouble: Callable[[str], None],
        rotate_bytes: int | None = None,
        keep: int = 5,
    ) -> None:
        """Open the file, making it and its folder where they aren't.

        Args:
            path: of the file.
            line_of: renders an alert.
            on_trouble: told once when writing begins to fail, and once when it works again.
            rotate_bytes: a line that would make the file bigger goes into a new one; None for never.
            keep: how many older files stay, as PATH.1, PATH.2 ...; the newest is PATH.1.

        Raises:
            OSError: it can't be opened. A wrong path must show at the start.
        """
        self.name = "file"
        self.tally = LocalStats()
        self._path = path
        self._line_of = line_of
        self._on_trouble = on_trouble
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self.trouble = ""
        """Why the last line that failed did."""
        self._in_trouble = False
        self._unrotated = False
        self._torn = False
        self._descriptor = self._open()

    def send(self, alert: Alert) -> None:
        """Append one line."""
        line = self._line_of(alert).encode("utf-8", "backslashreplace") + b"\n"
        try:
            if self._descriptor < 0:
                self._descriptor = self._open()
            if self._rotate_bytes is not None:
                self._make_room(len(line), self._rotate_bytes)
            # One write a line: with O_APPEND, lines of two writers never mix. A line that a full disk cut short is
            # ended first, so that the next one is whole.
            written = os.write(self._descriptor, b"\n" + line if self._torn else line)
        except OSError as error:
            self._fail(error.strerror or "can't be written")
            return
        wanted = len(line) + self._torn
        self._torn = 0 < written < wanted
        if self._torn:
            self._fail("the disk is full")
            return
        self.tally.sent += 1
        if self._in_trouble:
            self._in_trouble = False
            self._on_trouble(f"{self._path}: is written again; {self.tally.failed} alerts so far were not.")

    def reopen(self) -> None:
        """Open the path anew, after log rotation."""
        self.close()
        try:
            self._descriptor = self._open()
        except OSError as error:
            self._fail(error.strerror or "can't be opened", alerts=0)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        return os.open(self._path, flags, MODE)

    def _make_room(self, size: int, most: int) -> None:
        """Begin a new file where a line would make this one too big; if that fails, the one in use stays in use."""
        ours = os.fstat(self._descriptor)
        if not ours.st_size or ours.st_size + size <= most:
            return
        try:
            # Another writer of the same file may have moved it away already.
            if self._path.exists() and os.path.samestat(ours, self._path.stat()):
                for number in range(self._keep - 1, 0, -1):
                    older = self._older(number)
                    if older.exists():
                        older.replace(self._older(number + 1))
                self._path.replace(self._older(1))
            fresh = self._open()
        except OSError as error:
            if not self._unrotated:
                self._unrotated = True
                self._on_trouble(f"{self._path}: no new file can be begun: {error.strerror}; the old one grows on.")
            return
        os.close(self._descriptor)
        self._descriptor, self._torn, self._unrotated = fresh, False, False

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _fail(self, why: str, alerts: int = 1) -> None:
        self.trouble = why
        self.tally.failed += alerts
        if not self._in_trouble:
            self._in_trouble = True
            self._on_trouble(f"{self._path}: {why}; alerts for it are counted as lost until it works again.")
