"""Finds a container's user and group files through its first process, unless a file system could block.

Runs in a process of its own (see lookups.server), because what is checked here may have changed when it is used.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from collector.procfs.foreign_files import Signature, cached_stat, closing, is_remote, read_below, signature_below
from collector.procfs.parse import Mounted, parse_cgroup, parse_mountinfo, parse_stat, parse_status, text_of
from collector.procfs.reading import read_file

if TYPE_CHECKING:  # 1 MiB that the process for look-ups saves
    from pathlib import Path

MAX_MOUNTINFO = 1 << 20
"""Bytes read of a mount table. A longer table may hide a mount behind many others, so it counts as remote."""
MAX_HOST_MOUNTINFO = 16 << 20
HOST_MOUNTS_AGE = 10.0
"""Seconds that the host's mount table is cached, unless something new is looked up."""

USERS, GROUPS = "etc/passwd", "etc/group"
_FILES = ("/", "/etc", "/etc/passwd", "/etc/group")
_MAX_PROC_FILE = 64 * 1024

Signatures = tuple[Signature | None, Signature | None]


@dataclass(frozen=True, slots=True)
class Insider:
    """The process through which a container's files are read: its first one, as far as known."""

    pid: int
    start_ticks: int
    mount_namespace: str
    pid_namespace: str


@dataclass(frozen=True, slots=True)
class AccountFilesQuery:
    """A query about one container."""

    pids: tuple[int, ...]
    """Its processes, those most likely to be its first process first."""
    cgroup: str
    """Its own cgroup; empty to skip the check."""
    insider: Insider | None = None
    """The process through which its files were read last time."""
    signatures: Signatures = (None, None)
    """The files' signatures at that time."""


@dataclass(frozen=True, slots=True)
class AccountFilesAnswer:
    """The response to a query."""

    state: Literal["gone", "remote", "same", "new"]
    """gone: no process could be used. remote: the files are on a file system that may not respond. same: nothing
    changed. new: the files were read."""
    insider: Insider | None = None
    signatures: Signatures = (None, None)
    passwd: str | None = None
    group: str | None = None
    uid_map: str = ""
    gid_map: str = ""


class AccountFiles:
    """Responds to queries about containers' user and group files."""

    def __init__(self, proc: "Path | str", host_root: "Path | str", now: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._host_root = host_root
        self._now = now
        self._host_mounts: list[Mounted] = []
        self._host_mounts_read = float("-inf")

    def look(self, question: AccountFilesQuery) -> AccountFilesAnswer:
        """Look through the first of a container's processes that qualifies.

        While the process used before is alive, it stays the one used: a later process of the container may have changed
        its root to a directory of its own making.
        """
        before = question.insider
        if before is not None and self._insider(before.pid, question.cgroup)[0] == before:
            return self._through(before, question)
        for pid in question.pids:
            insider, vpid = self._insider(pid, question.cgroup)
            if insider is not None and self._may_speak(insider, vpid, before):
                answer = self._through(insider, question)
                if answer.state != "gone":
                    return answer
        return AccountFilesAnswer("gone")

    def _may_speak(self, insider: Insider, vpid: int, before: Insider | None) -> bool:
        """Return whether a process's files are the container's: those of its first process and its companions are."""
        return (
            vpid == 1
            or insider.pid_namespace in {_link(f"{self._proc}/{whose}/ns/pid") for whose in ("1", "self")}
            or (
                before is not None
                and (insider.mount_namespace, insider.pid_namespace) == (before.mount_namespace, before.pid_namespace)
            )
        )

    def _insider(self, pid: int, cgroup: str) -> tuple[Insider | None, int]:
        folder = f"{self._proc}/{pid}"
        stat, status = parse_stat(_read(f"{folder}/stat") or b""), parse_status(_read(f"{folder}/status") or b"")
        path = parse_cgroup(_read(f"{folder}/cgroup") or b"")
        namespaces = _link(f"{folder}/ns/mnt"), _link(f"{folder}/ns/pid")
        if stat is None or status is None or None in namespaces:
            return None, 0
        # A path relative to a cgroup namespace can't be compared; the table has checked the absolute one.
        is_inside = not cgroup or path is None or path.startswith("/..") or f"{path}/".startswith(f"{cgroup}/")
        if not is_inside:
            return None, 0
        return Insider(pid, stat.start_ticks, namespaces[0] or "", namespaces[1] or ""), status.vpid

    def _through(self, insider: Insider, question: AccountFilesQuery) -> AccountFilesAnswer:
        root = open_root(f"{self._proc}/{insider.pid}/root")
        if root is None:
            return AccountFilesAnswer("gone")
        with closing(root):
            mounts = self._mounts(insider.pid)
            if mounts is None or self._is_host_root(root):
                return AccountFilesAnswer("gone")
            remote = self._remote(mounts)
            if remote is None or any(path in remote for path in _FILES) or not self._is_root_known(root, mounts):
                return AccountFilesAnswer("remote", insider)
            # A link could lead onto any of them.
            return self._read_files(root, insider, question, links=not remote)

    def _read_files(
        self, root: int, insider: Insider, question: AccountFilesQuery, *, links: bool
    ) -> AccountFilesAnswer:
        found = signature_below(root, USERS, links=links), signature_below(root, GROUPS, links=links)
        if insider == question.insider and found == question.signatures and found != (None, None):
            return AccountFilesAnswer("same", insider, found)
        passwd, group = read_below(root, USERS, links=links), read_below(root, GROUPS, links=links)
        folder = f"{self._proc}/{insider.pid}"
        return AccountFilesAnswer(
            "new",
            insider,
            (None if passwd is None else passwd[1], None if group is None else group[1]),
            None if passwd is None else text_of(passwd[0]),
            None if group is None else text_of(group[0]),
            text_of(_read(f"{folder}/uid_map") or b""),
            text_of(_read(f"{folder}/gid_map") or b""),
        )

    def _remote(self, mounts: Sequence[Mounted]) -> set[str] | None:
        """Return where remote file systems are mounted; None if that is unknown."""
        serving = {mount.point: mount for mount in mounts}
        known = {mount.device for mount in self._host_mounts}
        is_old = self._now() - self._host_mounts_read > HOST_MOUNTS_AGE
        if is_old or any(mount.device not in known for mount in serving.values() if mount.type == "overlay"):
            host = self._mounts(1, MAX_HOST_MOUNTINFO)
            if host is None or not host:
                return None
            self._host_mounts, self._host_mounts_read = host, self._now()
        return {point for point, mount in serving.items() if is_remote(mount, self._host_mounts)}

    def _is_root_known(self, root: int, mounts: Sequence[Mounted]) -> bool:
        """Return whether a root is on a mount that was checked; a changed root's own mount isn't listed."""
        if any(mount.point == "/" for mount in mounts):
            return True
        number = cached_stat(root).device
        device = f"{os.major(number)}:{os.minor(number)}"
        found = [mount for mount in self._host_mounts if mount.device == device]
        return bool(found) and not is_remote(found[0], self._host_mounts)

    def _mounts(self, pid: int, limit: int = MAX_MOUNTINFO) -> list[Mounted] | None:
        """Return a process's mounts; None if it has ended, an empty list if the table is too long."""
        text = _read(f"{self._proc}/{pid}/mountinfo", limit + 1)
        if text is None:
            return None
        return [Mounted("/", "unknown")] if len(text) > limit else parse_mountinfo(text)

    def _is_host_root(self, root: int) -> bool:
        """Return whether a root is the host's: that of a runtime's helper that hasn't entered the container yet."""
        try:
            host = os.stat(self._host_root)  # noqa: PTH116
        except OSError:
            host = os.stat("/")  # noqa: PTH116
        found = cached_stat(root)
        return (found.device, found.inode) == (host.st_dev, host.st_ino)


def responder(proc: str, host_root: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that responds to queries from JSON, for where procfs and the host's root are mounted."""
    files = AccountFiles(proc, host_root)
    return lambda request: asdict(files.look(_question_of(request)))


def _question_of(request: dict[str, Any]) -> AccountFilesQuery:
    """Convert a query about accounts from JSON."""
    return AccountFilesQuery(
        tuple(request["pids"]), request["cgroup"], _insider(request["insider"]), _signatures(request["signatures"])
    )


def answer_of(answered: dict[str, Any]) -> AccountFilesAnswer:
    """Convert a response about accounts from JSON."""
    return AccountFilesAnswer(
        **{**answered, "insider": _insider(answered["insider"]), "signatures": _signatures(answered["signatures"])}
    )


def _insider(found: dict[str, Any] | None) -> Insider | None:
    return None if found is None else Insider(**found)


def _signatures(found: list[dict[str, Any] | None]) -> tuple[Signature | None, Signature | None]:
    first, second = (None if each is None else Signature(**each) for each in found)
    return first, second


def open_root(path: "Path | str") -> int | None:
    """Open a root directory as a location only; None if that fails."""
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return None


def _read(path: str, limit: int = _MAX_PROC_FILE) -> bytes | None:
    return read_file(path, limit)
