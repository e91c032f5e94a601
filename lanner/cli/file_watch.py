"""Detection of changed files by polling."""

from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[int, int, int]


class FileWatch:
    """Compares modification time, size and inode, which detects an editor's rename and a Kubernetes symlink swap."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._stamps = self._look()

    def changed(self) -> tuple[Path, ...]:
        """Return the files that changed since the last call."""
        before, self._stamps = self._stamps, self._look()
        return tuple(path for path in self._paths if self._stamps[path] != before[path])

    def _look(self) -> dict[Path, Stamp | None]:
        return {path: _stamp(path) for path in self._paths}


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
