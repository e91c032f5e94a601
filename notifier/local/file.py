"""A sink that appends lines to a file, for log collectors."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from notifier.delivery.outcome import Delivered, RetryLater, RoutedAlert, SendOutcome
from schemas.alert import Alert
from schemas.text.notes import OnNote

MODE = 0o600
"""Alerts quote command lines, and command lines hold secrets."""


class FileSink:
    """Appends one line for each alert, and can rotate the file by size."""

    batch_size = 1

    def __init__(
        self,
        path: Path,
        line_of: Callable[[Alert], str],
        *,
        report: OnNote,
        rotate_bytes: int | None = None,
        keep: int = 5,
    ) -> None:
        """Open the file; create it and its folder if missing.

        Args:
            path: of the file.
            line_of: renders an alert.
            report: called when the file can't be rotated or reopened.
            rotate_bytes: start a new file before a line would make this one larger; None for never.
            keep: number of older files, as PATH.1, PATH.2 ...; the newest is PATH.1.

        Raises:
            OSError: it can't be opened. A wrong path must fail at start, not with the first alert.
        """
        self._path = path
        self._line_of = line_of
        self._report = report
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._rotation_failed = False
        self._is_torn = False
        self._descriptor = self._open()

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Append the first alert."""
        line = self._line_of(alerts[0].rendered).encode("utf-8", "backslashreplace") + b"\n"
        try:
            if self._descriptor < 0:
                self._descriptor = self._open()
            if self._rotate_bytes is not None:
                self._rotate(len(line), self._rotate_bytes)
            # One write per line: with O_APPEND, lines of two writers never mix. A line that a full disk cut short is
            # ended first, so that the next one is whole.
            written = os.write(self._descriptor, b"\n" + line if self._is_torn else line)
        except OSError as error:
            return RetryLater(f"{self._path}: {error.strerror or 'it cannot be written'}")
        expected = len(line) + self._is_torn
        self._is_torn = 0 < written < expected
        return RetryLater(f"{self._path}: the disk is full") if self._is_torn else Delivered()

    def idle(self) -> None:
        """Do nothing."""

    def reopen(self) -> None:
        """Open the path again, after log rotation."""
        self.close()
        try:
            self._descriptor = self._open()
        except OSError as error:
            self._report(f"{self._path}: it can't be opened: {error.strerror}; it is tried again with the next alert.")

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        return os.open(self._path, flags, MODE)

    def _rotate(self, size: int, limit: int) -> None:
        """Start a new file if a line would make this one too large; if that fails, keep writing to this one."""
        ours = os.fstat(self._descriptor)
        if not ours.st_size or ours.st_size + size <= limit:
            return
        try:
            # Another writer of the same file may have moved it already.
            if self._path.exists() and os.path.samestat(ours, self._path.stat()):
                for number in range(self._keep - 1, 0, -1):
                    older = self._older(number)
                    if older.exists():
                        older.replace(self._older(number + 1))
                self._path.replace(self._older(1))
            fresh = self._open()
        except OSError as error:
            if not self._rotation_failed:
                self._rotation_failed = True
                self._report(f"{self._path}: can't start a new file: {error.strerror}; the old one keeps growing.")
            return
        os.close(self._descriptor)
        self._descriptor, self._is_torn, self._rotation_failed = fresh, False, False

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
