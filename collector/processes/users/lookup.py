"""Names of users and groups: from the host's files for the host, from a container's own files for its processes.

Only files are read, on the host too: the name service may query the network, and an event can't wait for that. Users
that exist only in a directory service (LDAP, SSSD) stay unnamed.
"""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collector.containers.identity.naming import ContainerName
from collector.processes.procfs.files_below import read_below, signature_below
from collector.processes.users.account_files import (
    AccountFiles,
    AccountFilesAnswer,
    AccountFilesQuery,
    Insider,
    Signatures,
)
from collector.processes.users.passwd import Names, UserAccounts, inside_id, parse_group, parse_id_map, parse_passwd
from schemas.caching.bounded import BoundedMap

CHECK_INTERVAL = 1.0
"""Seconds between checks whether a file changed."""

GIVEN_UP_INTERVAL = 60.0
"""Seconds until a container is checked again whose files didn't respond, or can't be expected to."""

MAX_CONTAINERS = 1024

_USERS = "etc/passwd"
_GROUPS = "etc/group"


@dataclass(slots=True)
class _Known:
    accounts: UserAccounts
    signatures: Signatures
    check_at: float
    insider: Insider | None = None
    uid_map: tuple[tuple[int, int, int], ...] = ()
    gid_map: tuple[tuple[int, int, int], ...] = ()
    is_remote: bool = False


class UserFiles:
    """Users and groups of the host and of containers, cached until the files change.

    Args:
        proc: where procfs is mounted.
        host_root: the host's root directory; by default that of process 1, which is right in a container too.
        now: a clock in seconds, for the interval of checks.
        look: looks up a container's files; returns None if that takes too long. The default blocks the caller.
    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        host_root: Path | None = None,
        now: Callable[[], float] = time.monotonic,
        look: Callable[[AccountFilesQuery], AccountFilesAnswer | None] | None = None,
    ) -> None:
        self.remote = 0
        """Containers whose files were skipped, because their file system may never respond."""
        self._host_root = proc / "1" / "root" if host_root is None else host_root
        self._now = now
        self._look = look or AccountFiles(proc, self._host_root, now).look
        self._host: _Known | None = None
        self._containers: BoundedMap[str, _Known] = BoundedMap(MAX_CONTAINERS)
        self._uncertain: BoundedMap[str, _Known] = BoundedMap(MAX_CONTAINERS)

    def names(
        self, uid: int, gid: int | None, loginuid: int | None, container: ContainerName | None, pids: tuple[int, ...]
    ) -> Names:
        """Return the names of one process's ids.

        Args:
            uid: as numbered by the host's kernel; mapped if the container has a user namespace.
            gid: likewise.
            loginuid: -1 if unset.
            container: the container's name; None for the host.
            pids: processes of the container through which its files may be reached, best first.
        """
        known = self._of_host() if container is None else self._of_container(container, pids)
        if known is None:
            return UserAccounts().names(uid, gid, loginuid)
        if known.uid_map:
            mapped = inside_id(uid, known.uid_map)
            uid = -1 if mapped is None else mapped
            gid = None if gid is None else inside_id(gid, known.gid_map)
            loginuid = None if loginuid is None or loginuid < 0 else inside_id(loginuid, known.uid_map)
        return known.accounts.names(uid, gid, loginuid)

    def _of_host(self) -> _Known | None:
        now = self._now()
        known = self._host
        if known is None or now >= known.check_at:
            root = _open_root(self._host_root)
            if root is None:
                root = _open_root(Path("/"))
            if root is not None:
                with contextlib.ExitStack() as opened:
                    opened.callback(os.close, root)
                    self._host = known = _refresh(known, root, now)
        return known

    def _of_container(self, container: ContainerName, pids: tuple[int, ...]) -> _Known | None:
        now = self._now()
        # Ids that may be forged evict none that are certain.
        remembered = self._containers if container.is_certain else self._uncertain
        known = remembered.get(container.key)
        if known is not None and now < known.check_at:
            return known
        before = (None, (None, None)) if known is None else (known.insider, known.signatures)
        answer = self._look(AccountFilesQuery(pids, container.cgroup, *before))
        if answer is None or answer.state == "remote":
            known = known or _Known(UserAccounts(), (None, None), now)
            self.remote += answer is not None and not known.is_remote
            known.is_remote = answer is not None
            known.check_at = now + GIVEN_UP_INTERVAL
            remembered.put(container.key, known)
        elif answer.state == "new":
            known = _Known(
                UserAccounts(parse_passwd(_bytes(answer.passwd)), parse_group(_bytes(answer.group))),
                answer.signatures,
                now + CHECK_INTERVAL,
                answer.insider,
                parse_id_map(answer.uid_map),
                parse_id_map(answer.gid_map),
            )
            remembered.put(container.key, known)
        elif known is not None:
            # For a container seen for the first time, a failure isn't cached: a runtime's helper fails until it has
            # entered the container, just before the first program.
            known.check_at = now + CHECK_INTERVAL
        return known


def _bytes(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "surrogateescape")


def _refresh(known: _Known | None, root: int, now: float) -> _Known:
    found = signature_below(root, _USERS), signature_below(root, _GROUPS)
    if known is not None and known.signatures == found:
        known.check_at = now + CHECK_INTERVAL
        return known
    passwd, group = read_below(root, _USERS), read_below(root, _GROUPS)
    accounts = UserAccounts(
        parse_passwd(passwd[0]) if passwd is not None else {},
        parse_group(group[0]) if group is not None else {},
    )
    signatures = (None if passwd is None else passwd[1], None if group is None else group[1])
    return _Known(accounts, signatures, now + CHECK_INTERVAL)


def _open_root(path: Path) -> int | None:
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
