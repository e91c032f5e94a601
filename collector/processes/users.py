"""Names of users and groups: the host's files for the host, a container's own files for its processes.

Files only, on the host too: the name service may ask the network, and an event can't wait for that. Users that exist
only in a directory service (LDAP, SSSD) stay without a name.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from collector.containers.naming import ContainerName
from collector.processes.bounded import Bounded
from collector.processes.names import Accounts, Names, inside_id, parse_group, parse_id_map, parse_passwd
from collector.processes.procparse import Mounted, parse_mountinfo
from collector.processes.rooted import Signature, read_below, signature_below

CHECK_INTERVAL = 1.0
"""Seconds between two looks at whether a file changed."""

MAX_CONTAINERS = 1024

_USERS = "etc/passwd"
_GROUPS = "etc/group"
_FILES = ("/", "/etc", "/etc/passwd", "/etc/group")
_MAX_PROC_FILE = 1 << 20


@dataclass(slots=True)
class _Known:
    accounts: Accounts
    signatures: tuple[Signature | None, Signature | None]
    checked: float
    uid_map: tuple[tuple[int, int, int], ...] = ()
    gid_map: tuple[tuple[int, int, int], ...] = ()


class UserFiles:
    """Users and groups of the host and of containers, cached and read again when the files change.

    Args:
        proc: where procfs is mounted.
        host_root: the host's root directory; by default that of process 1, which is right in a container too.
        now: a clock in seconds, for the interval of checks.
    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        host_root: Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proc = proc
        self._host_root = proc / "1" / "root" if host_root is None else host_root
        self._now = now
        self._host: _Known | None = None
        self._containers: Bounded[str, _Known] = Bounded(MAX_CONTAINERS)

    def names(
        self, uid: int, gid: int | None, loginuid: int | None, container: ContainerName | None, pids: tuple[int, ...]
    ) -> Names:
        """Name the ids of one process.

        Args:
            uid: as the host's kernel counts; mapped where the container has a user namespace.
            gid: likewise.
            loginuid: -1 where unset.
            container: its name; None for the host.
            pids: processes of the container through which its files may be reached, best first.
        """
        known = self._of_host() if container is None else self._of_container(container.key, pids)
        if known is None:
            return Accounts().names(uid, gid, loginuid)
        if known.uid_map:
            mapped = inside_id(uid, known.uid_map)
            uid = -1 if mapped is None else mapped
            gid = None if gid is None else inside_id(gid, known.gid_map)
            loginuid = None if loginuid is None or loginuid < 0 else inside_id(loginuid, known.uid_map)
        return known.accounts.names(uid, gid, loginuid)

    def _of_host(self) -> _Known | None:
        now = self._now()
        known = self._host
        if known is None or now - known.checked >= CHECK_INTERVAL:
            root = _open_root(self._host_root)
            if root is None:
                root = _open_root(Path("/"))
            if root is not None:
                with _closing(root):
                    self._host = known = _refresh(known, root, now, links=True)
        return known

    def _of_container(self, container: str, pids: tuple[int, ...]) -> _Known | None:
        now = self._now()
        known = self._containers.get(container)
        if known is not None and now - known.checked < CHECK_INTERVAL:
            return known
        for pid in pids:
            fresh = self._look(pid, known, now)
            if fresh is not None:
                self._containers.put(container, fresh)
                return fresh
        # Failure isn't remembered: a runtime's helper fails until it has moved in, a moment before the first program.
        if known is not None:
            known.checked = now
        return known

    def _look(self, pid: int, known: _Known | None, now: float) -> _Known | None:
        root = _open_root(self._proc / str(pid) / "root")
        if root is None:
            return None
        with _closing(root):
            mounts = self._mounts(pid)
            if mounts is None:
                return None
            if not _answers_at_once(mounts):
                return _Known(Accounts(), (None, None), now)
            if self._is_host_root(root):
                return None
            fresh = _refresh(known, root, now, links=not any(mount.is_remote for mount in mounts))
        fresh.uid_map, fresh.gid_map = self._id_maps(pid)
        return fresh

    def _is_host_root(self, root: int) -> bool:
        """Tell whether a root is the host's: that of a runtime's helper that hasn't moved in yet."""
        try:
            host = self._host_root.stat()
        except OSError:
            host = Path("/").stat()
        found = os.fstat(root)
        return (found.st_dev, found.st_ino) == (host.st_dev, host.st_ino)

    def _mounts(self, pid: int) -> list[Mounted] | None:
        text = _read_proc(self._proc / str(pid) / "mountinfo")
        return None if text is None else parse_mountinfo(text)

    def _id_maps(self, pid: int) -> tuple[tuple[tuple[int, int, int], ...], tuple[tuple[int, int, int], ...]]:
        folder = self._proc / str(pid)
        uids, gids = _read_proc(folder / "uid_map"), _read_proc(folder / "gid_map")
        if uids is None or gids is None:
            return (), ()
        return parse_id_map(uids.decode("ascii", "replace")), parse_id_map(gids.decode("ascii", "replace"))


def _answers_at_once(mounts: list[Mounted]) -> bool:
    """Tell whether the files stand on file systems that no other program or machine has to answer for."""
    serving = {mount.point: mount.is_remote for mount in mounts}
    return not any(serving.get(path, False) for path in _FILES)


def _refresh(known: _Known | None, root: int, now: float, *, links: bool) -> _Known:
    found = (signature_below(root, _USERS, links=links), signature_below(root, _GROUPS, links=links))
    if known is not None and known.signatures == found:
        known.checked = now
        return known
    passwd, group = read_below(root, _USERS, links=links), read_below(root, _GROUPS, links=links)
    accounts = Accounts(
        parse_passwd(passwd[0]) if passwd is not None else {},
        parse_group(group[0]) if group is not None else {},
    )
    signatures = (None if passwd is None else passwd[1], None if group is None else group[1])
    return _Known(accounts, signatures, now)


def _open_root(path: Path) -> int | None:
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _read_proc(path: Path) -> bytes | None:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(_MAX_PROC_FILE)
    return None
