"""The records that processors exchange about people's sessions, as messages of the topic `sessions`: JSON.

Users of clusters and of hosts chose the texts, so lengths and types are checked here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

from foundation.errors import LannerError
from processor.fields.json.documents import Document
from schemas.alert import Value
from schemas.catalog.fields import K8S_AUDIT, SSHD

MAX_RECORD_BYTES = 64 << 10
_MAX_NAME = 256
_MAX_COMMAND = 1024
_MAX_GROUPS = 32
_MAX_ADDRESSES = 8
_LATEST = 1 << 63


class BadSessionRecord(LannerError, ValueError):
    """The bytes are not a record of a session."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person who requested a command or logged in; each text within its limit."""

    user: str
    addresses: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    command: str = ""
    key: str = ""
    """Fingerprint of the SSH key."""

    def clipped(self) -> "Person":
        """Return the person with texts and lists cut to their limits."""
        return Person(
            self.user[:_MAX_NAME],
            tuple(each[:_MAX_NAME] for each in self.addresses[:_MAX_ADDRESSES]),
            tuple(each[:_MAX_NAME] for each in self.groups[:_MAX_GROUPS]),
            self.command[:_MAX_COMMAND],
            self.key[:_MAX_NAME],
        )

    def fields(self) -> Mapping[str, Value]:
        """Return what alerts carry about the person."""
        values: dict[str, Value] = {
            "session.user": self.user,
            "session.groups": self.groups,
            "session.sourceips": self.addresses,
            "session.command": self.command,
            "session.key": self.key,
        }
        return {name: value for name, value in values.items() if value}


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """Someone requested a command in a pod through the Kubernetes API."""

    id: str
    time: int
    """ns since the epoch."""
    namespace: str
    pod: str
    container: str | None
    words: str
    """A hash of the command's words."""
    person: Person

    @property
    def key(self) -> str:
        """Identifies the record."""
        return f"request/{self.id}"


@dataclass(frozen=True, slots=True)
class PersonsProcess:
    """A process that someone's request started."""

    host_id: str
    pid: int
    start: int
    """When the process was created, ns since the epoch."""
    time: int
    """When it ran the command, ns since the epoch."""
    namespace: str
    pod: str
    request: str
    """Id of the request."""
    person: Person

    @property
    def key(self) -> str:
        """Identifies the record."""
        return f"process/{self.host_id}/{self.pid}/{self.start}"


@dataclass(frozen=True, slots=True)
class SshLogin:
    """Someone logged in by SSH."""

    machine: str
    """The machine's id, which is the host's id unless that is configured; empty if the log did not have it."""
    hostname: str
    pid: int
    """The sshd process that accepted the login."""
    time: int
    """ns since the epoch, by the host's clock."""
    person: Person

    @property
    def key(self) -> str:
        """Identifies the record."""
        return f"login/{self.machine or self.hostname}/{self.pid}/{self.time}"


SessionRecord = CommandRequest | PersonsProcess | SshLogin
_KINDS: Mapping[str, type[CommandRequest | PersonsProcess | SshLogin]] = {
    "request": CommandRequest,
    "process": PersonsProcess,
    "login": SshLogin,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode_session(record: SessionRecord) -> tuple[bytes, bytes]:
    """Return key and value of a record's message."""
    row: dict[str, Any] = {"kind": _NAMES[type(record)]}
    row |= {name: getattr(record, name) for name in record.__slots__ if name != "person"}
    row["person"] = {name: value for name in Person.__slots__ if (value := getattr(record.person, name))}
    return record.key.encode("utf-8", "replace"), json.dumps(row, separators=(",", ":")).encode()


def decode_session(data: bytes) -> SessionRecord:
    """Decode and check a record. Raises BadSessionRecord."""
    if len(data) > MAX_RECORD_BYTES:
        raise BadSessionRecord(f"{len(data)} bytes; {MAX_RECORD_BYTES} are allowed")
    try:
        row = json.loads(data)
        kind = _KINDS[row.pop("kind")]
        person = _person(row.pop("person"))
        return kind(
            **{name: _checked(name, row.get(name)) for name in kind.__slots__ if name != "person"}, person=person
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadSessionRecord(f"not a record of a session: {error}") from None


def _person(row: dict[str, Any]) -> Person:
    person = Person(
        _text("user", row.get("user")),
        _texts("addresses", row.get("addresses", [])),
        _texts("groups", row.get("groups", [])),
        _text("command", row.get("command", "")),
        _text("key", row.get("key", "")),
    )
    if not person.user or person != person.clipped():
        raise BadSessionRecord("person has no user, or texts beyond their limits")
    return person


def _checked(name: str, value: Any) -> Any:
    if name in ("pid", "start", "time"):
        if type(value) is not int or not 0 <= value < _LATEST:
            raise BadSessionRecord(f"{name} is not a number in range")
        return value
    return None if name == "container" and value is None else _text(name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_COMMAND:
        raise BadSessionRecord(f"{name} is not a text of at most {_MAX_COMMAND} characters")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadSessionRecord(f"{name} is not a list")
    return tuple(_text(name, each) for each in value)


SSHD_PROGRAMS = frozenset({"sshd", "sshd-session"})
"""Names of the process that accepts logins; the second one since OpenSSH 9.8."""
_MAX_WORDS = 1000
_ROOT = 0


def session_record(event: Document) -> SessionRecord | None:
    """Return what an event reports about a session; None if it is about none."""
    if event.source.name == K8S_AUDIT:
        return _request(event)
    return _login(event) if event.source.name == SSHD else None


def person_behind(event: Document) -> Person | None:
    """Return the user whom an event names; None if it names none. Who impersonates another is the user."""
    user = event["json.user"]
    if not isinstance(user, str) or not user:
        return None
    return Person(user, _reading_texts(event["ka.sourceips"]), _reading_texts(event["ka.user.groups"])).clipped()


def hashed(words: Iterable[str]) -> str:
    """Return a hash of a command's words, which may be long."""
    return blake2b(json.dumps(list(words)).encode(), digest_size=16).hexdigest()


def _request(event: Document) -> CommandRequest | None:
    if event["ka.target.subresource"] != "exec":
        return None
    if event["ka.target.resource"] != "pods" or event["ka.stage"] != "ResponseStarted":
        return None
    query = str(event["ka.uri"] or "").partition("?")[2]
    try:
        parameters = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_WORDS)
    except ValueError:
        return None
    words = tuple(value for key, value in parameters if key == "command")
    container = next((value for key, value in parameters if key == "container"), None)
    person = person_behind(event)
    if not words or person is None or str(event["ka.response.code"]) != "101":
        return None
    names = (str(event["ka.target.namespace"] or ""), str(event["ka.target.name"] or ""), container or "")
    if any(len(name) > _MAX_WORDS for name in names):
        return None
    return CommandRequest(
        hashed(event.identity),
        event.time,
        names[0],
        names[1],
        container,
        hashed(words),
        replace(person, command=" ".join(words)).clipped(),
    )


def _login(event: Document) -> SshLogin | None:
    """Return the login that a line of sshd reports.

    Everybody on a host may log lines that look like sshd's. The journal itself adds process id and user id, and only
    root can change them.
    """
    user, address, pid = event["sshd.user"], event["sshd.address"], event["sshd.pid"]
    if not isinstance(user, str) or not isinstance(address, str) or not isinstance(pid, int):
        return None
    if event["sshd.uid"] != _ROOT or event["sshd.program"] not in SSHD_PROGRAMS or not 0 < pid < 1 << 31:
        return None
    key, machine = event["sshd.key"], event["sshd.machine"]
    person = Person(user, (address,), key=key if isinstance(key, str) else "")
    hostname = event.hostname[:_MAX_WORDS]
    return SshLogin(
        machine[:_MAX_WORDS] if isinstance(machine, str) else "", hostname, pid, event.time, person.clipped()
    )


def _reading_texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, tuple) else ()
