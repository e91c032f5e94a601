"""Marks and audit log in files of one host: JSON lines, each on disk before it counts."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock

from lanner.console.feed.ports import Action
from lanner.console.store.marks import Mark, read_mark


class LineFile:
    """Appends lines to a private file."""

    def __init__(self, path: Path) -> None:
        """Open the file; create it if missing. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags, 0o600)
        self._lock = Lock()

    def append(self, text: str) -> None:
        """Write a line and wait until it is on disk. Raises OSError."""
        with self._lock:
            os.write(self._descriptor, f"{text}\n".encode())
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class MarkFile:
    """The marks of one host. The file is rewritten at each start with the newest mark of each subject and field."""

    def __init__(self, path: Path) -> None:
        """Read the file; a line that was not written completely is skipped. Raises OSError."""
        self._marks: dict[tuple[str, str], Mark] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._take(line)
        compact = path.with_name(f"{path.name}.new")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        compact.unlink(missing_ok=True)
        new = LineFile(compact)
        if self._marks:
            new.append("\n".join(json.dumps(asdict(mark)) for mark in self._marks.values()))
        new.close()
        compact.replace(path)
        self._file = LineFile(path)

    def read_all(self) -> Sequence[Mark] | None:
        """Return all marks."""
        return list(self._marks.values())

    def read_new(self) -> Sequence[Mark]:
        """Return nothing: the only writer is this process."""
        return ()

    def put(self, mark: Mark) -> None:
        """Append a mark. Raises OSError."""
        self._file.append(json.dumps(asdict(mark)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, line: str) -> None:
        try:
            row = json.loads(line)
            key, value = f"{row['subject']}\x1f{row['field']}", json.dumps(row)
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        mark = read_mark(key.encode(), value.encode())
        if mark is None:
            return
        self._marks.pop((mark.subject, mark.field), None)
        if mark.value:
            self._marks[mark.subject, mark.field] = mark


class AuditFile:
    """The audit log of one host."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises OSError."""
        self._file = LineFile(path)

    def record(self, action: Action) -> None:
        """Append an action. Raises OSError."""
        self._file.append(json.dumps(asdict(action)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
