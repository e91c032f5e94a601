"""Names the person in alerts about what they did: the command that they requested in a pod, or their login by SSH.

Audit events and sshd's log know the person, system calls what was done. No clock, no I/O; any thread may add records.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from threading import Lock

from processor.fields.json.documents import Document
from processor.matching.pre_match import Candidate, Content, PreMatch
from processor.sessions.joins import PodCommands, SshLogins, person_in
from processor.sessions.records import (
    BadSessionRecord,
    CommandRequest,
    Person,
    PersonsProcess,
    SessionRecord,
    decode_session,
    person_behind,
    session_record,
)
from schemas.alert import Alert
from schemas.batch import EventBatch, Process

LIFETIME = 7 * 86_400 * 10**9
"""How long a person is named after the request or the login, ns."""
EVICTABLE = ("request", "start", "session", "login")
"""The kinds of entries that may have to make room."""


class Sessions:
    """The sessions of people on all hosts."""

    def __init__(self) -> None:
        """Begin with none."""
        self._commands = PodCommands()
        self._logins = SshLogins()
        self._lock = Lock()
        self.changes = 0
        """A number that grows whenever something is added."""
        self.refused = 0
        """Messages that are not valid records."""

    @property
    def evicted(self) -> Counter[str]:
        """The number of entries that had to make room, by kind."""
        return self._commands.evicted + self._logins.evicted

    def __len__(self) -> int:
        return len(self._commands) + len(self._logins)

    def add(self, record: SessionRecord) -> None:
        """Take what an event reports, here or at another processor; what is known already changes nothing."""
        with self._lock:
            self.changes += 1
            if isinstance(record, CommandRequest):
                self._commands.add_request(record)
            elif isinstance(record, PersonsProcess):
                self._commands.add_process(record)
            else:
                self._logins.add(record)

    def put(self, key: bytes, value: bytes | None) -> None:  # noqa: ARG002  the value has all
        """Take a message of the topic `sessions`."""
        try:
            self.add(decode_session(value or b""))
        except BadSessionRecord:
            self.refused += 1

    def see_event(self, event: Document) -> None:
        """Take a JSON event; those that are about no session are ignored."""
        record = session_record(event)
        if record is not None:
            self.add(record)

    def see_batch(self, batch: EventBatch) -> "BatchPeople | None":
        """Take the starts of commands in a batch; return the people behind its events; None if nobody is known."""
        with self._lock:
            known = len(self._commands)
            self._commands.see_batch(batch)
            self.changes += len(self._commands) != known
        return BatchPeople(self, batch) if len(self) or any(each.env for each in batch.processes) else None

    def take_joined(self) -> list[PersonsProcess]:
        """Return the processes whose person was found here since the last call."""
        with self._lock:
            joined = list(self._commands.joined)
            self._commands.joined.clear()
            return joined

    def records(self) -> Iterable[SessionRecord]:
        """Return all that is known, for another process to add."""
        with self._lock:
            return [*self._commands.records(), *self._logins.records()]

    def person_of(self, batch: EventBatch, process: Process, time: int) -> Person | None:
        """Return whose request or login a process itself is; None for others, also below it.

        Args:
            batch: of the process.
            process: the process.
            time: at which it ran, ns since the epoch.
        """
        with self._lock:
            known = self._commands.get(batch.host_id, process) or self._logins.get(batch, process, time)
        return known.person if known is not None and time - known.time <= LIFETIME else None


class People(ABC):
    """The people behind the events of one batch or document."""

    first_index = 0
    """The index of the first event."""

    def name_alert(self, index: int, alert: Alert) -> Alert:
        """Return the alert of an event with its person; the same alert if nobody is known. index: of the event."""
        person = self._person(index)
        if person is None:
            return alert
        output = alert.output + self._suffix(person)
        return replace(alert, output=output, output_fields={**alert.output_fields, **person.fields()})

    def user_of(self, index: int) -> str:
        """Return the person's name; "" if nobody is known. index: of the event."""
        person = self._person(index)
        return "" if person is None else person.user

    def name_pre_match(self, pre_match: PreMatch) -> PreMatch:
        """Return an event for a stateful rule so that its alert names the person."""
        person = self._person(pre_match.origin.index - self.first_index) if pre_match.candidates else None
        if person is None:
            return pre_match
        suffix = self._suffix(person)
        return replace(pre_match, candidates=tuple(_named(each, person, suffix) for each in pre_match.candidates))

    @abstractmethod
    def _person(self, index: int) -> Person | None:
        """Return the person behind an event; None if nobody is known."""

    def _suffix(self, person: Person) -> str:
        return f" session_user={person.user}"


class DocumentPeople(People):
    """The user whom a JSON event names. The output of a rule has the user already, so only fields are added."""

    def __init__(self, event: Document) -> None:
        """Take the event."""
        self._event = event

    @cached_property
    def _user(self) -> Person | None:
        return person_behind(self._event)

    def _person(self, index: int) -> Person | None:  # noqa: ARG002  there is one event
        return self._user

    def _suffix(self, person: Person) -> str:  # noqa: ARG002
        return ""


class BatchPeople(People):
    """The people behind the events of one batch."""

    def __init__(self, sessions: Sessions, batch: EventBatch) -> None:
        """Take the batch."""
        self.first_index = batch.first_index
        self._sessions = sessions
        self._batch = batch
        self._found: dict[int, tuple[Person | None, Person | None]] = {}
        """By row of a process: who requested it or logged in, and who it is by the environment that sshd gave."""

    def _person(self, index: int) -> Person | None:
        """Return the person of the nearest process that is known: that of an event, or an ancestor.

        A request or a line of sshd's log comes first; a process can change its environment.
        """
        columns, processes = self._batch.columns, self._batch.processes
        row, time = columns["process"][index], columns["time"][index]
        path = []
        while row >= 0 and row not in self._found:
            path.append(row)
            row = processes[row].parent
        found = self._found.get(row, (None, None))
        for each in reversed(path):
            stated = self._sessions.person_of(self._batch, processes[each], time) or found[0]
            found = self._found[each] = (stated, person_in(self._batch, processes[each]) or found[1])
        return found[0] or found[1]


def _named(candidate: Candidate, person: Person, suffix: str) -> Candidate:
    make = candidate.content
    if make is None:
        return candidate

    def content() -> Content:
        plain = make()
        *texts, last = plain.texts
        return Content((*texts, last + suffix), {**plain.fields, **person.fields()}, plain.event)

    return replace(candidate, content=content)
