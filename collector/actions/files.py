"""Quarantines a file or program of the host or of a container, and restores it.

Its path lies where an attacker may change every part of it at any time. So each part is opened once, what is decided is
decided on the open file, and only a name that still refers to this file is removed.
"""

import base64
import contextlib
import hashlib
import json
import os
import secrets
import stat
import struct
import sys
from dataclasses import replace
from fcntl import ioctl
from pathlib import Path
from typing import Any

from collector.actions.containers import ContainerOf
from collector.actions.effect import ActionRefused, Effect, TargetGone, UndoFacts
from collector.actions.file_trees import FileTree, TargetFile, file_tree, located, mount_id, path_of_host
from collector.processes.container_names import container_of
from collector.procfs.foreign_files import closing
from foundation.files import open_private, write_atomically
from foundation.text import count_of, printable
from schemas.action import ActionIntent, why_protected

MAX_BYTES = 256 << 20
"""Size of the largest file that is copied."""
_RESERVE = 512 << 20
"""Bytes that stay free where copies are stored."""
_MAX_XATTRS = 64 << 10
_PIECE = 1 << 20
_OWN = (f"{Path(__file__).resolve().parents[2]}/", "/etc/lanner/", "/var/lib/lanner")
# Source: ioctl_iflags(2); the kernel reads and writes an int, whatever the numbers state.
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_IMMUTABLE, _APPEND = 0x10, 0x20
_FLAGS = struct.Struct("=i4x")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Quarantine:
    """Moves files to a folder of ours.

    Args:
        state_dir: copies are in its folder `quarantine`.
        container_of: returns the container that a cgroup's path names.
    """

    def __init__(self, state_dir: Path, container_of: ContainerOf = container_of) -> None:
        self._folder = state_dir.resolve() / "quarantine"
        environment = (f"{sys.prefix}/",) if sys.prefix != sys.base_prefix else ()
        self._own = (*_OWN, f"{state_dir.resolve()}/", *environment)
        self._container_of = container_of

    def do(self, intent: ActionIntent) -> Effect:
        """Move a regular file into quarantine; see HostAction."""
        with file_tree(intent.container_id, self._container_of) as tree, located(tree, intent.path) as found:
            location = _opened(found)
            with closing(location):
                status = os.fstat(location)
                if reason := self._why_refused(intent, tree, found, location):
                    raise ActionRefused(reason)
                with closing(_reader(location)) as file:
                    return self._take(intent, found, file, status)

    def extend(self, intent: ActionIntent, facts: UndoFacts, lease: int) -> None:
        """Do nothing: it has no lease."""

    def undo(self, intent: ActionIntent, facts: UndoFacts) -> str:  # noqa: ARG002  the protocol's
        """Put the file back, unless something has its name now; see HostAction."""
        content, about = self._files(intent)
        try:
            stored: dict[str, Any] = json.loads(about.read_bytes())
            source = os.open(content, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return f"{printable(intent.path)} was restored already"
        with closing(source):
            try:
                with (
                    file_tree(intent.container_id, self._container_of) as tree,
                    located(tree, stored["path"], links=False) as found,
                ):
                    _put_back(found, source, stored)
            except (TargetGone, ActionRefused) as gone:
                raise TargetGone(f"{gone}; the copy is {content}") from None
        content.unlink()
        about.unlink()
        return f"restored {printable(stored['path'])}"

    def _why_refused(self, intent: ActionIntent, tree: FileTree, found: TargetFile, location: int) -> str:
        """Return why an open file isn't quarantined; empty if there is no reason."""
        status = os.fstat(location)
        if not stat.S_ISREG(status.st_mode):
            return f"it is {_KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, not a regular file"
        if mount_id(location) != mount_id(found.folder):
            return "something is mounted over it"
        if status.st_size > MAX_BYTES:
            return f"it has {status.st_size:,} bytes; {MAX_BYTES:,} are allowed"
        for path in (found.path, *([path_of_host(found.path, tree)] if intent.container_id else [])):
            if not path:
                continue
            on_host = replace(intent, path=path, container_id="" if path != found.path else intent.container_id)
            if reason := why_protected(on_host, path):
                return reason
            if not on_host.container_id and f"{path}/".startswith(self._own):
                return f"Lanner itself needs {path}"
        above = os.fstat(found.folder)
        others = status.st_nlink - 1
        if others and status.st_uid == 0 and (above.st_uid != 0 or above.st_mode & 0o022):
            return f"it is root's and has {count_of(others, 'more name')}: anybody may have linked it here"
        return ""

    def _take(self, intent: ActionIntent, found: TargetFile, file: int, status: os.stat_result) -> Effect:
        content, about = self._files(intent)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        space = os.statvfs(self._folder)
        if space.f_bavail * space.f_frsize < status.st_size + _RESERVE:
            raise ActionRefused(f"{self._folder} has too little space for a copy of {status.st_size:,} bytes")
        try:
            xattrs = _xattrs(file)
            digest, size = _copy_in(file, content)
            facts: dict[str, Any] = {
                "intent": intent.id,
                "container": intent.container_id,
                "path": found.path,
                "sha256": digest,
                "size": size,
                "mode": stat.S_IMODE(status.st_mode),
                "uid": status.st_uid,
                "gid": status.st_gid,
                "atime": status.st_atime_ns,
                "mtime": status.st_mtime_ns,
                "xattrs": xattrs,
                "flags": _protecting_flags(file),
            }
            write_atomically(about, [json.dumps(facts).encode()], is_synced=True)
            _change_flags(file, off=facts["flags"])
            try:
                _remove(found, file, status)
            except BaseException:
                with contextlib.suppress(ActionRefused):
                    _change_flags(file, on=facts["flags"])
                raise
        except BaseException:
            for each in (content, about):
                each.unlink(missing_ok=True)
            raise
        text = f"quarantined {printable(found.path)}, {size:,} bytes, SHA-256 {digest}"
        if status.st_nlink > 1:
            text += f"; {count_of(status.st_nlink - 1, 'other name')} of it lost all permissions"
        return Effect(text + "; what runs it goes on", {"path": found.path, "copy": str(content)})

    def _files(self, intent: ActionIntent) -> tuple[Path, Path]:
        """Return the paths of a copy and of the facts about it; an id can be any text."""
        name = hashlib.sha256(intent.id.encode("utf-8", "replace")).hexdigest()[:32]
        return self._folder / f"{name}.content", self._folder / f"{name}.json"


def _opened(found: TargetFile) -> int:
    """Open a file as a location only, whatever it is: opening a FIFO or device has effects."""
    try:
        return os.open(found.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found.folder)
    except FileNotFoundError:
        raise TargetGone(f"{printable(found.path)} no longer exists") from None


def _reader(location: int) -> int:
    try:
        return os.open(f"/proc/self/fd/{location}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except BlockingIOError:
        raise ActionRefused("a process has a lease on it: kill that, or try again in a minute") from None


def _xattrs(file: int) -> dict[str, str]:
    found: dict[str, str] = {}
    size = 0
    for name in os.listxattr(file):
        value = os.getxattr(file, name)
        size += len(name) + len(value)
        if size > _MAX_XATTRS:
            raise ActionRefused(f"its extended attributes have more than {_MAX_XATTRS:,} bytes")
        found[name] = base64.b64encode(value).decode()
    return found


def _copy_in(file: int, content: Path) -> tuple[str, int]:
    """Copy an open file, which may grow while it is read; return its SHA-256 and its size."""
    content.unlink(missing_ok=True)
    with closing(open_private(content, os.O_WRONLY | os.O_EXCL)) as copy:
        digest, size = _copied(file, copy)
        os.fsync(copy)
    return digest, size


def _copied(file: int, copy: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while piece := os.read(file, _PIECE):
        size += len(piece)
        if size > MAX_BYTES:
            raise ActionRefused(f"it has grown; {MAX_BYTES:,} bytes are allowed")
        digest.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(copy, rest) :]
    return digest.hexdigest(), size


def _remove(found: TargetFile, file: int, status: os.stat_result) -> None:
    """Remove a file's name, if it is still this file's, and what others could do by its other names."""
    taken = f".lanner-{secrets.token_hex(16)}"
    try:
        os.rename(found.name, taken, src_dir_fd=found.folder, dst_dir_fd=found.folder)
    except FileNotFoundError:
        raise TargetGone(f"{printable(found.path)} no longer exists") from None
    except OSError as error:
        raise ActionRefused(f"it can't be removed: {error.strerror}") from None
    try:
        _disable(found, taken, file, status)
    except ActionRefused as refused:
        _give_back(found, taken, str(refused))
        raise
    os.unlink(taken, dir_fd=found.folder)


def _disable(found: TargetFile, taken: str, file: int, status: os.stat_result) -> None:
    if not _same(os.stat(taken, dir_fd=found.folder, follow_symlinks=False), os.fstat(file)):
        raise ActionRefused("another file got its name just now")
    try:
        os.fchmod(file, 0)
        # Its owner could permit it again by another name.
        os.fchown(file, 0, 0)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.fchmod(file, stat.S_IMODE(status.st_mode))
        raise ActionRefused(f"its permissions can't be removed: {error.strerror}") from None


def _give_back(found: TargetFile, taken: str, reason: str) -> None:
    """Return its name to what was renamed, unless something else has it now."""
    try:
        if stat.S_ISDIR(os.stat(taken, dir_fd=found.folder, follow_symlinks=False).st_mode):
            os.rename(taken, found.name, src_dir_fd=found.folder, dst_dir_fd=found.folder)
            return
        os.link(taken, found.name, src_dir_fd=found.folder, dst_dir_fd=found.folder, follow_symlinks=False)
        os.unlink(taken, dir_fd=found.folder)
    except OSError as error:
        raise ActionRefused(f"{reason}; it is named {taken} now: {error.strerror}") from None


def _put_back(found: TargetFile, source: int, facts: dict[str, Any]) -> None:
    """Write a file with its attributes under a name that nothing has. Raises OSError."""
    taken = f".lanner-{secrets.token_hex(16)}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with closing(os.open(taken, flags, 0, dir_fd=found.folder)) as file:
        try:
            if _copied(source, file)[0] != facts["sha256"]:
                raise OSError(f"the copy of {printable(found.path)} was changed")
            # In this order: a new owner removes capabilities and setuid.
            os.fchown(file, facts["uid"], facts["gid"])
            os.fchmod(file, facts["mode"])
            for name, value in facts["xattrs"].items():
                os.setxattr(file, name, base64.b64decode(value))
            os.utime(file, ns=(facts["atime"], facts["mtime"]))
            os.fsync(file)
            # Not by its name, which could be another file's now.
            os.link(f"/proc/self/fd/{file}", found.name, dst_dir_fd=found.folder)
        except FileExistsError:
            raise OSError(f"{printable(found.path)} exists again: it isn't overwritten") from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(taken, dir_fd=found.folder)
        with contextlib.suppress(ActionRefused):
            _change_flags(file, on=facts["flags"])


def _protecting_flags(file: int) -> int:
    """Return which flags of a file keep root from removing it, as chattr +i does; 0 if its file system has none."""
    try:
        flags: int = _FLAGS.unpack(ioctl(file, _GET_FLAGS, bytes(_FLAGS.size)))[0]
    except OSError:
        return 0
    return flags & (_IMMUTABLE | _APPEND)


def _change_flags(file: int, *, on: int = 0, off: int = 0) -> None:
    """Set or clear flags. Raises ActionRefused."""
    if on or off:
        try:
            flags: int = _FLAGS.unpack(ioctl(file, _GET_FLAGS, bytes(_FLAGS.size)))[0]
            ioctl(file, _SET_FLAGS, _FLAGS.pack(flags & ~off | on))
        except OSError as error:
            raise ActionRefused(f"its flags (chattr) can't be changed: {error.strerror}") from None


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
