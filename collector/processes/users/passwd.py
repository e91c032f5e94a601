"""Parses the users and groups in /etc/passwd and /etc/group."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.caching.bounded import BoundedMap

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
    users: dict[int, User] = {}
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) != 7 or not fields[0] or len(users) >= MAX_ENTRIES:
            continue
        uid = _number(fields[2])
        if uid is not None and uid not in users:
            users[uid] = User(_text(fields[0]), _text(fields[5]), _text(fields[6]))
    return users


def parse_group(text: bytes) -> dict[int, str]:
    """Parse a group file; of several lines with one gid the first counts.

    Source: group(5).
    """
    groups: dict[int, str] = {}
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) != 4 or not fields[0] or len(groups) >= MAX_ENTRIES:
            continue
        gid = _number(fields[2])
        if gid is not None and gid not in groups:
            groups[gid] = _text(fields[0])
    return groups


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
