"""Private files: opened without following links, replaced atomically, synced to the disk; and changes to any file.

Written data survives the end of the process anyway; it survives a power failure only after fsync.
"""

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from foundation.errors import LannerError

PRIVATE = 0o600
"""Mode of files that only their owner may read: command lines contain secrets, and alerts quote them."""
_MAX_TRUSTED = 64 << 20
SECONDS = 1.0


def open_private(path: Path, flags: int, mode: int = PRIVATE) -> int:
    """Open a file, created if missing, and return its descriptor; a symbolic link is refused. Raises OSError."""
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)


class UntrustedFile(LannerError):
    """Others than root, this user or the owner of this code can have written it; the message states the remedy."""


def read_trusted(path: Path, limit: int = _MAX_TRUSTED) -> bytes:
    """Read a file that only root, this user or the owner of this code can have written.

    Raises:
        UntrustedFile: others can have written it, or it has more bytes than the limit.
        OSError: it can't be read.
    """
    owners = {0, os.geteuid()}
    # Root runs this code, so whoever owns that may own the file as well. In the tarball it has no folder.
    with suppress(OSError):
        owners.add(Path(__file__).parent.stat().st_uid)
    with path.open("rb") as file:
        # Checked on the open file: its name may refer to another one afterwards.
        facts = os.fstat(file.fileno())
        if facts.st_uid not in owners or facts.st_mode & 0o022:
            raise UntrustedFile("users other than root can write it: chown root, chmod go-w")
        if facts.st_size > limit:
            raise UntrustedFile(f"it has more than {limit:,} bytes: remove it")
        return file.read(limit)


def write_atomically(
    path: Path,
    content: Iterable[bytes],
    *,
    mode: int = PRIVATE,
    replaces: bool = True,
    is_shared: bool = False,
    is_synced: bool = False,
) -> None:
    """Write a file beside it and rename that, so that readers find the old content or the new; a link is replaced.

    Args:
        path: the file; its folder is created if missing.
        content: the parts.
        mode: permissions.
        replaces: whether a file that exists is replaced.
        is_shared: whether several processes may write it at the same time.
        is_synced: whether to return only when it survives a power failure.

    Raises:
        FileExistsError: the file exists, and it isn't to be replaced.
        OSError: it can't be written; nothing has changed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Named after the process only where needed: a process that is killed while it writes leaves the file.
    new = path.with_name(f".{path.name}.{os.getpid()}.new" if is_shared else f".{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        with os.fdopen(open_private(new, os.O_WRONLY | os.O_EXCL, mode), "wb") as file:
            file.writelines(content)
            if is_synced:
                file.flush()
                os.fsync(file.fileno())
        if replaces:
            new.replace(path)
        else:
            os.link(new, path)
    finally:
        new.unlink(missing_ok=True)
    if is_synced:
        _sync(path.parent)


class DiskSync:
    """Syncs files a little later, on a thread of its own that the first write starts."""

    def __init__(self) -> None:
        self._pending: set[Path] = set()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def touched(self, path: Path) -> None:
        """Schedule a sync of a file that was written."""
        with self._lock:
            self._pending.add(path)
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
                _sync(path)

    def _run(self) -> None:
        while not self._end.wait(SECONDS):
            self.sync()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileWatch:
    """Compares modification time, size and inode, which detects an editor's rename and a Kubernetes symlink swap."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._stamps = self._look()

    def changed(self) -> tuple[Path, ...]:
        """Return the files that changed since the last call."""
        before, self._stamps = self._stamps, self._look()
        return tuple(path for path in self._paths if self._stamps[path] != before[path])

    def _look(self) -> dict[Path, tuple[int, int, int] | None]:
        return {path: _stamp(path) for path in self._paths}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
