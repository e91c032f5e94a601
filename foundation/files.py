"""Call fsync on written files once a second, on a thread of its own, so that a slow disk blocks no caller.

Written data survives the end of the process anyway; it survives a power failure only after fsync.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

SECONDS = 1.0


class DiskSync:
    """Syncs one file, or several."""

    def __init__(self, path: Path | None = None) -> None:
        """Create it; the thread starts with the first write. path: the file, if it is always the same."""
        self._path = path
        self._pending: set[Path] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def touched(self, path: Path | None = None) -> None:
        """Schedule a sync of a file that was written. path: the file, unless it was given at creation."""
        file = path or self._path
        if file is None:
            raise ValueError("no file was named")
        with self._lock:
            self._pending.add(file)
        if self._thread is None and not self._end.is_set():
            self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop the thread and sync what was written last."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        self.sync()

    def sync(self) -> None:
        """Sync all scheduled files and their directories now."""
        with self._lock:
            pending, self._pending = self._pending, set()
        for path in (*pending, *{each.parent for each in pending}):
            # The file was deleted, or the disk fails: then the next write reports it.
            with suppress(OSError):
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)

    def _run(self) -> None:
        while not self._end.wait(SECONDS):
            self.sync()
