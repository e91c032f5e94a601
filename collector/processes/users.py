"""Names of users and groups: from the host's files for the host, from a container's own files for its processes.

Only files are read, on the host too: the name service may query the network, and an event can't wait for that. Users
that exist only in a directory service (LDAP, SSSD) stay unnamed.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from collector.processes.container_names import ContainerName
from collector.procfs.accounts import (
    GROUPS,
    USERS,
    AccountFiles,
    AccountFilesAnswer,
    AccountFilesQuery,
    Insider,
    Signatures,
    open_root,
)
from collector.procfs.foreign_files import closing, read_below, signature_below
from foundation.caches import BoundedMap

MAX_ENTRIES = 20_000
"""Users or groups stored per file; a hostile file may list millions."""

MAX_FIELD = 256


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one process's ids; None if no file names them."""

    user: str | None = None
    group: str | None = None
    login_name: str | None = None
    home: str | None = None
    shell: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """One line of a passwd file."""

    name: str
    home: str
    shell: str


ROOT = User("root", "/root", "")
"""Name of uid 0 if there is no file at all, as in images built from scratch; to the kernel it is root."""


_Ids = tuple[int, int | None, int | None]
_MOST_FOUND = 256


@dataclass(frozen=True, slots=True)
class UserAccounts:
    """The users and groups in one root directory's files."""

    users: Mapping[int, User] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    _found: BoundedMap[_Ids, Names] = field(default_factory=lambda: BoundedMap(_MOST_FOUND), compare=False, repr=False)

    def names(self, uid: int, gid: int | None, loginuid: int | None) -> Names:
        """Return the names of a process's ids; a login uid of -1 means unset."""
        found = self._found.get((uid, gid, loginuid))
        if found is None:
            found = self._look_up(uid, gid, loginuid)
            self._found.put((uid, gid, loginuid), found)
        return found

    def _look_up(self, uid: int, gid: int | None, loginuid: int | None) -> Names:
        user = self.users.get(uid)
        if user is None and uid == 0:
            user = ROOT
        group = None if gid is None else self.groups.get(gid)
        if group is None and gid == 0:
            group = "root"
        login = None
        if loginuid is not None and loginuid >= 0:
            login = self.users.get(loginuid)
            if login is None and loginuid == 0:
                login = ROOT
        return Names(
            user=None if user is None else user.name,
            group=group,
            login_name=None if login is None else login.name,
            home=None if user is None else user.home or None,
            shell=None if user is None else user.shell or None,
        )


def parse_passwd(text: bytes) -> dict[int, User]:
    """Parse a passwd file; of several lines with one uid the first counts, as for getpwuid.

    Lines without exactly seven fields are skipped, so a shadow file in its place names nobody.

    Source: passwd(5).
    """
    return {uid: User(_text(row[0]), _text(row[5]), _text(row[6])) for uid, row in _rows(text, 7).items()}


def parse_group(text: bytes) -> dict[int, str]:
    """Parse a group file; of several lines with one gid the first counts.

    Source: group(5).
    """
    return {gid: _text(row[0]) for gid, row in _rows(text, 4).items()}


def _rows(text: bytes, width: int) -> dict[int, list[bytes]]:
    """Return the first line of each id; lines with another number of fields, or without a name, are skipped."""
    rows: dict[int, list[bytes]] = {}
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) == width and fields[0] and len(rows) < MAX_ENTRIES:
            number = _number(fields[2])
            if number is not None:
                rows.setdefault(number, fields)
    return rows


def _number(field: bytes) -> int | None:
    if not field.isdigit() or len(field) > 10:
        return None
    number = int(field)
    return number if number < 2**32 - 1 else None


def _text(field: bytes) -> str:
    return field[:MAX_FIELD].decode("utf-8", "surrogateescape")


def parse_id_map(text: str) -> tuple[tuple[int, int, int], ...]:
    """Parse /proc/PID/uid_map or gid_map into tuples of (id inside, id outside, count).

    Source: user_namespaces(7).
    """
    rows = []
    for line in text.splitlines():
        numbers = line.split()
        if len(numbers) == 3 and all(number.isdigit() for number in numbers):
            inside, outside, count = map(int, numbers)
            rows.append((inside, outside, count))
    return tuple(rows)


def inside_id(outside: int, id_map: tuple[tuple[int, int, int], ...]) -> int | None:
    """Return a host id as seen inside a user namespace; None if it isn't mapped."""
    for first_inside, first_outside, count in id_map:
        if first_outside <= outside < first_outside + count:
            return first_inside + outside - first_outside
    return None


CHECK_INTERVAL = 1.0
"""Seconds between checks whether a file changed."""

GIVEN_UP_INTERVAL = 60.0
"""Seconds until a container is checked again whose files didn't respond, or can't be expected to."""

MAX_CONTAINERS = 1024


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
            root = open_root(self._host_root)
            if root is None:
                root = open_root(Path("/"))
            if root is not None:
                with closing(root):
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
    found = signature_below(root, USERS), signature_below(root, GROUPS)
    if known is not None and known.signatures == found:
        known.check_at = now + CHECK_INTERVAL
        return known
    passwd, group = read_below(root, USERS), read_below(root, GROUPS)
    accounts = UserAccounts(
        parse_passwd(passwd[0]) if passwd is not None else {}, parse_group(group[0]) if group is not None else {}
    )
    signatures = (None if passwd is None else passwd[1], None if group is None else group[1])
    return _Known(accounts, signatures, now + CHECK_INTERVAL)
