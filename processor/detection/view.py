"""Views of events, which detection reads alike whether they are the columns of a batch or a JSON document.

The views are not on the hot path: matching a batch is one call of `hits`, whose code is generated for columns. What
follows from a hit is written once, over `EventView`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Protocol, TypeVar
from zlib import crc32

from foundation.text import printable
from processor.compiler.batch import Conditions, Fault, Hit, Match
from processor.detection.budget import Budget
from processor.fields.json.documents import Document
from processor.matching.pre_match import Account, EventOrigin, Notice, PreMatch, notice_of
from processor.output.formatter import OutputFormat, compile_output, event_row
from processor.output.internal_alerts import EVENT_TRUNCATED, Cause
from processor.sessions.records import hashed
from processor.sessions.sessions import DocumentPeople, People, Sessions
from schemas.alert import Value
from schemas.batch import EventBatch
from schemas.catalog.fields import K8S_AUDIT, SYSCALL

EVENTS_BETWEEN_LOOKS = 64
"""The number of events evaluated between two readings of the clock."""


At = tuple[int, int]
"""An event's index, and the string index of the file name that matched; (0, 0) in a document."""
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
_NOTHING_LOST: Mapping[str, int] = MappingProxyType({})
_CLUSTER = "ka.cluster.name"
_USER_GROUPS = 64
"""Users of JSON sources may be invented: no more than so many sums are reported at a time."""
_MAX_PART = 100
_FILES = (
    *(("fd.name", "fd_name"), ("fd.realpath", "fd_realpath")),
    *(("fs.path.name", "path_name"), ("fs.path.source", "path_source"), ("fs.path.target", "path_target")),
)
"""Fields and columns that name what something is done to."""


class Reader(Protocol[T_co]):
    """Something that is read of events: fields, or a formatted output; made for the columns or for documents."""

    @property
    def bind(self) -> Callable[[Any], Callable[[int, int], T_co]]:
        """Return a function from an event's index and the string index of its file name, for a batch or a document."""


class EventView(Protocol):
    """The events that detection reads: those of a batch, or the one of a document."""

    source: str
    """The source of the events."""
    host_id: str
    """The host that sent them; empty if none did."""
    appended: int
    """When the broker received them, ns since the epoch; 0 if none did."""
    received: int
    """When they arrived, by their own clock if no other is known, ns since the epoch."""
    is_established: bool
    """True if their host counts as a known one and not as a newcomer."""
    count: int
    """The number of events."""
    lost: Mapping[str, int]
    """Losses that they report, by reason."""

    @property
    def hostname(self) -> str:
        """The host that the events are about; empty if they name none."""

    @property
    def cluster_name(self) -> str:
        """The cluster that the events name."""

    @property
    def place(self) -> EventOrigin:
        """What identifies their batch or message; positions of later ones are larger."""

    @property
    def total(self) -> int:
        """The number of events, with those that they stand for."""

    def hits(self, conditions: Conditions, on_fault: Fault, budget: Budget) -> Iterator[tuple[int, Iterable[Hit]]]:
        """Yield each event that matches, in order: its index, and the rules with the file name that matched.

        Args:
            conditions: the compiled rules.
            on_fault: receives the index of a rule that raised, and the error.
            budget: what the events may cost.

        Raises:
            OverBudget: they cost more; the remaining events are not evaluated.
        """

    def read(self, reader: Reader[T], at: At) -> T:
        """Return what a reader makes of an event."""

    def row(self, at: At) -> dict[str, Value]:
        """Return the fields that an alert carries in addition to those of its output."""

    def time(self, index: int) -> int:
        """Return the time of an event, ns since the epoch."""

    def weight(self, index: int) -> int:
        """Return the number of equal events that an event stands for."""

    def identity(self, index: int) -> tuple[int, tuple[str | int, ...]]:
        """Return what the ids of an event's alerts derive from: its stated time and what identifies it."""

    def origin(self, index: int) -> EventOrigin:
        """Return what identifies an event for windows."""

    def account(self, index: int) -> Account:
        """Return who caused an event."""

    def actor(self, index: int) -> tuple[tuple[object, ...], str]:
        """Return a process with its user, and what all of its command line, user and container share."""

    def objects(self, at: At) -> tuple[dict[str, str], str]:
        """Return by field what distinguishes its alerts from others, such as files; and the file name that matched."""

    def notices(self, notices: Iterable[Notice]) -> list[PreMatch]:
        """Return notices that the events caused, for correlation."""

    def people(self, sessions: Sessions) -> People | None:
        """Take what the events show about sessions; return the people behind them, None if nobody is known."""


class BatchView:
    """The events of a validated batch; its process rows and strings are trusted."""

    source = SYSCALL
    cluster_name = ""

    def __init__(self, batch: EventBatch) -> None:
        """Take a batch."""
        self.batch = batch
        self.hostname, self.host_id = batch.hostname, batch.host_id
        self.appended, self.received = batch.appended, batch.appended or batch.created
        self.is_established = batch.is_established
        self.count = batch.count
        self.lost: Mapping[str, int] = batch.lost
        self._times, self._repeats, self._rows = (batch.columns[name] for name in ("time", "repeats", "process"))
        self._reads: dict[int, Callable[[int, int], Any]] = {}
        self._row: Callable[[int, int], dict[str, Any]] | None = None
        self._accounts: dict[int, Account] = {}
        self._actors: dict[int, tuple[tuple[object, ...], str]] = {}

    @property
    def total(self) -> int:
        """The number of events, with those that they stand for."""
        return self.batch.total

    def hits(self, conditions: Conditions, on_fault: Fault, budget: Budget) -> Iterator[tuple[int, Iterable[Hit]]]:
        """Yield each event that matches, in order."""
        batch, matchers = self.batch, conditions.matchers
        strings, types = batch.strings, batch.columns["type"]
        matches: list[Match | bool | None] = [None] * len(strings)
        for first in range(0, batch.count, EVENTS_BETWEEN_LOOKS):
            budget.look(first)
            for index, type_index in enumerate(types[first : first + EVENTS_BETWEEN_LOOKS], first):
                match = matches[type_index]
                if match is None:
                    matcher = matchers.get(strings[type_index] or "")
                    is_new = matcher is not None and not matcher.is_compiled
                    match = matches[type_index] = False if matcher is None else matcher.bind(batch, on_fault)
                    if is_new:
                        # Compiled once for all messages: not the cost of the first one.
                        budget.restart_clocks()
                if match is False:
                    continue
                hits = match(index)  # type: ignore[operator]
                if hits:
                    yield index, hits
        budget.look(batch.count)

    def read(self, reader: Reader[T], at: At) -> T:
        """Return what a reader makes of an event; it is bound once."""
        read = self._reads.get(id(reader))
        if read is None:
            read = self._reads[id(reader)] = reader.bind(self.batch)
        found: T = read(*at)
        return found

    def row(self, at: At) -> dict[str, Value]:
        """Return the whole event."""
        if self._row is None:
            self._row = event_row(self.batch)
        return self._row(*at)

    def time(self, index: int) -> int:
        """Return the time of an event, ns since the epoch."""
        return self._times[index]

    def weight(self, index: int) -> int:
        """Return the number of equal events that an event stands for."""
        return 1 + self._repeats[index]

    def identity(self, index: int) -> tuple[int, tuple[str | int, ...]]:
        """Return an event's time, and its position among those of its collector."""
        batch = self.batch
        position = batch.first_index + index
        return self._times[index], (batch.host_id, batch.boot_id, batch.collector_start, batch.sequence, position)

    def origin(self, index: int) -> EventOrigin:
        """Return an event's position among those of its collector."""
        batch = self.batch
        position = batch.first_index + index
        return EventOrigin(batch.host_id, batch.boot_id, batch.collector_start, batch.sequence, position)

    @property
    def place(self) -> EventOrigin:
        """What identifies the batch."""
        return self.origin(0)

    def account(self, index: int) -> Account:
        """Return whose process caused an event.

        A session's user counts, whatever users its programs become: there may be many, as in rootless containers.
        """
        row = self._rows[index]
        known = self._accounts.get(row)
        if known is None:
            process, containers = self.batch.processes[row], self.batch.containers
            login = process.loginuid if process.loginuid is not None and process.loginuid >= 0 else process.uid
            container = (containers[process.container].full_id or "") if process.container >= 0 else ""
            known = self._accounts[row] = Account(self.host_id, container, "" if login is None else str(login))
        return known

    def actor(self, index: int) -> tuple[tuple[object, ...], str]:
        """Return a process with its user, and what all of its command line, user and container share."""
        row = self._rows[index]
        known = self._actors.get(row)
        if known is None:
            batch = self.batch
            process = batch.processes[row]
            user = (process.uid, process.loginuid)
            container = batch.containers[process.container].full_id if process.container >= 0 else ""
            actor = (batch.host_id, process.pid, process.start_time, process.exec_time, *user)
            who = (batch.host_id, container, process.exepath, process.exe, process.args, *user)
            known = self._actors[row] = (actor, repr(who))
        return known

    def objects(self, at: At) -> tuple[dict[str, str], str]:
        """Return the files that an event names, by field, and the name that matched."""
        columns, strings = self.batch.columns, self.batch.strings
        index, name = at
        files = {field: text for field, column in _FILES if (text := strings[columns[column][index]])}
        return files, strings[name] or ""

    def notices(self, notices: Iterable[Notice]) -> list[PreMatch]:
        """Return notices that the batch caused, for correlation."""
        batch = self.batch
        which = (batch.boot_id, batch.collector_start, batch.sequence)
        cause = Cause(batch.host_id, batch.hostname, batch.created, which)
        index, appended, is_established = batch.first_index, batch.appended, batch.is_established
        return [
            notice_of(cause, each, index=index, appended=appended, is_established=is_established) for each in notices
        ]

    def people(self, sessions: Sessions) -> People | None:
        """Take the starts of commands; return the people behind the events, None if nobody is known."""
        return sessions.see_batch(self.batch)


class DocumentView:
    """The event of a JSON document."""

    host_id = ""
    is_established = True
    count = total = 1
    lost = _NOTHING_LOST

    def __init__(self, document: Document, appended: int = 0, position: tuple[str, int, int] | None = None) -> None:
        """Take a document.

        Args:
            document: the event.
            appended: when the broker received it, ns since the epoch; 0 if none did.
            position: topic, partition and offset of its message; None if it was in none.
        """
        self.document = document
        self.source = document.source.name
        self.appended, self.received = appended, appended or document.time
        self._position = position

    @property
    def hostname(self) -> str:
        """The host that the event is about; empty if it names none."""
        return self.document.hostname

    @property
    def cluster_name(self) -> str:
        """The cluster that the event names."""
        name = self.document[_CLUSTER]
        return name if isinstance(name, str) else ""

    def hits(self, conditions: Conditions, on_fault: Fault, budget: Budget) -> Iterator[tuple[int, Iterable[Hit]]]:
        """Yield the event if there are rules on its source; the rules behind a hit are evaluated lazily."""
        if predicates := conditions.predicates.get(self.source):
            budget.look(budget.evaluated)
            yield 0, self._hits(predicates, on_fault)

    def _hits(self, predicates: Iterable[tuple[int, Callable[[Document], bool]]], on_fault: Fault) -> Iterator[Hit]:
        for index, predicate in predicates:
            try:
                is_hit = predicate(self.document)
            except Exception as problem:  # noqa: BLE001  an error in one rule must not stop the others
                on_fault(index, problem)
                continue
            if is_hit:
                yield index, 0

    def read(self, reader: Reader[T], at: At) -> T:
        """Return what a reader makes of the event."""
        return reader.bind(self.document)(*at)

    def row(self, at: At) -> dict[str, Value]:  # noqa: ARG002  there is one event
        """Return the fields of which alerts of its source carry."""
        return self.document.row()

    def time(self, index: int) -> int:  # noqa: ARG002
        """Return the time of the event, ns since the epoch."""
        return self.document.time

    def weight(self, index: int) -> int:  # noqa: ARG002
        """Return 1."""
        return 1

    def identity(self, index: int) -> tuple[int, tuple[str | int, ...]]:  # noqa: ARG002
        """Return the stated time and what identifies the event.

        The time within range depends on when the event arrived, and it may arrive twice.
        """
        return self.document.stated_time, self.document.identity

    def origin(self, index: int) -> EventOrigin:
        """Return what identifies the event: the same however often it is delivered, and from wherever.

        Each is a source of its own, because JSON events have no order that their identity shows.
        """
        stated, identity = self.identity(index)
        text = "\x1f".join((str(stated), *map(str, identity)))
        return EventOrigin(self.source, blake2b(text.encode(), digest_size=16).hexdigest(), 0, 0, 0)

    @property
    def place(self) -> EventOrigin:
        """What identifies its message, or itself if it was in none."""
        if self._position is None:
            return self.origin(0)
        return EventOrigin(self.source, *self._position, 0)

    def account(self, index: int) -> Account:  # noqa: ARG002
        """Return the source: who is behind its events is only stated."""
        return Account(self.source)

    def actor(self, index: int) -> tuple[tuple[object, ...], str]:  # noqa: ARG002
        """Return the source, and the cluster, host and user that the event names."""
        actor = (self.source, self.cluster_name, self.hostname, self.document["json.user"])
        return actor, repr(actor)

    def objects(self, at: At) -> tuple[dict[str, str], str]:  # noqa: ARG002
        """Return the further fields of its alerts, but for its time and what identifies it."""
        document = self.document
        key = document.source.key(document.document)
        texts = {
            name: ", ".join(value) if isinstance(value, tuple) else str(value) for name, value in document.row().items()
        }
        return {name: text for name, text in texts.items() if text not in key and not name.startswith("evt.")}, ""

    def notices(self, notices: Iterable[Notice]) -> list[PreMatch]:
        """Return notices that the event caused, for correlation: once, however often it is delivered."""
        found = [notice_of(self._cause(self.received), each, appended=self.appended) for each in notices]
        return found + self._truncated()

    def _cause(self, time: int) -> Cause:
        return Cause("", self.source, time, (hashed(self.document.identity), 0, 0))

    def _truncated(self) -> list[PreMatch]:
        """Return the notice about parts that are missing, summed by user; none if the event is whole."""
        if not self.document.truncated:
            return []
        source, user = self.source, self._shown("json.user") or "unknown"
        if source == K8S_AUDIT:
            parts = [self._shown(f"ka.target.{name}") for name in ("resource", "subresource", "namespace", "name")]
            named = " ".join(filter(None, ("/".join(filter(None, parts[:2])), "/".join(filter(None, parts[2:])))))
            user += f" as {other}" if (other := self._shown("ka.impuser.name")) else ""
            act = f"{self._shown('ka.verb')} {named or self._shown('ka.uri')}"
        else:
            act = self._shown("json.key") or "an event without a key"
        cluster = f", in cluster {name}" if (name := self._shown("ka.cluster.name")) else ""
        missing = f"without some of its parts: {self.document.truncated}"
        text = f"rules saw an event of {source} {missing}; by {user}: {act}{cluster}"
        notice = Notice(EVENT_TRUNCATED, "Warning", {f"{user}: {act}": 1}, text)
        group = (source, str(crc32(user.encode()) % _USER_GROUPS))
        return [notice_of(self._cause(self.document.time), notice, appended=self.appended, group=group)]

    def _shown(self, field: str) -> str:
        value = self.document[field]
        return "" if value is None else printable(str(value))[:_MAX_PART]

    def people(self, sessions: Sessions) -> People | None:
        """Take the session that the event reports; return the user whom it names."""
        sessions.see_event(self.document)
        return DocumentPeople(self.document)


def view_of(events: EventBatch | Document, appended: int = 0) -> EventView:
    """Return the view of a batch, or of a document that was received at a time, ns since the epoch."""
    return DocumentView(events, appended) if isinstance(events, Document) else BatchView(events)


ExtraFields = tuple[tuple[str, bool, OutputFormat], ...]
"""Output fields that a rule's text does not name: name, whether it is a field's value instead of a text, and format."""


def extra_fields(formats: Mapping[str, str | None], source: str) -> ExtraFields:
    """Compile extra output fields of a rule: name to format, None for the field itself. Raises OutputError."""
    return tuple(
        (name, form is None, compile_output(f"%{name}" if form is None else form, source=source))
        for name, form in formats.items()
    )


def read_extra(view: EventView, extras: ExtraFields, at: At, fields: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return an output's fields of an event with the extra ones."""
    for name, is_field, form in extras:
        extra = view.read(form, at)
        fields = {**fields, **(extra.fields if is_field else {name: extra.text})}
    return fields
