"""Users and groups by name, as the text of /etc/passwd and /etc/group says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_ENTRIES = 20_000
"""Users or groups kept of one file; a hostile one may name millions."""

MAX_FIELD = 256


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one process's ids; None where no file names them."""

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
"""What uid 0 is called where there is no file at all, as in images made from scratch: it is root to the kernel."""


@dataclass(frozen=True, slots=True)
class UserAccounts:
    """The users and groups that one root directory's files name."""

    users: Mapping[int, User] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)

    def names(self, uid: int, gid: int | None, loginuid: int | None) -> Names:
        """Name a process's ids; a login uid of -1 is nobody's."""
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
    """Read a passwd file; of several lines with one uid the first counts, as for getpwuid.

    Lines without exactly seven fields are no users: so a shadow file in its place names nobody.

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
    """Read a group file; of several lines with one gid the first counts.

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
    """Read /proc/PID/uid_map or gid_map: (id inside, id outside, how many) each.

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
    """Give what a host's id is within a user namespace; None where it isn't mapped."""
    for first_inside, first_outside, count in id_map:
        if first_outside <= outside < first_outside + count:
            return first_inside + outside - first_outside
    return None
