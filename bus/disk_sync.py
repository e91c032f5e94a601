"""Brings what was written to the disk once a second, on a thread of its own: a slow disk holds up nobody.

What has been written outlives the process by itself; a power cut it outlives only on the disk.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

SECONDS = 1.0


class DiskSync:
    """Looks after one file, or after the newest of several."""

    def __init__(self, path: Path | None = None) -> None:
        """Begin; the thread begins with the first write. path: the file, if it is always the same one."""
        self._path = path
        self._pending: set[Path] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def touched(self, path: Path | None = None) -> None:
        """Take note that a file was written; path: if it is another one."""
        file = path or self._path
        if file is None:
            raise ValueError("no file was named")
        with self._lock:
            self._pending.add(file)
        if self._thread is None and not self._end.is_set():
            self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End, after what was written last has been brought to the disk."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        self.sync()

    def sync(self) -> None:
        """Bring everything to the disk now, and its folder, which knows of it."""
        with self._lock:
            pending, self._pending = self._pending, set()
        for path in (*pending, *{each.parent for each in pending}):
            # Gone meanwhile, or a disk that fails: who writes next is told by the write.
            with suppress(OSError):
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)

    def _run(self) -> None:
        while not self._end.wait(SECONDS):
            self.sync()
