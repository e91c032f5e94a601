"""Names the person in alerts about what a command did that was requested through the Kubernetes API.

The audit log knows who requested it, system calls what it did. Pure: no clock, no I/O.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import parse_qsl

from processor.fields.audit.event_fields import AuditFields
from schemas.alert import Alert, Value, bounded
from schemas.batch import EventBatch, Process
from schemas.caching.bounded import BoundedMap
from schemas.catalogue.sources import K8S_AUDIT, SYSCALL

MAX_APART = 10_000_000_000
"""How far a request and the start of its command may be apart, ns."""
MAX_PODS = 10_000
MAX_SESSIONS = 100_000
_MAX_OF_POD = 100
_MAX_WORDS = 1000
_MAX_NAME = 256
_EXECS = frozenset({"execve", "execveat"})


_Identity = tuple[str, int, int | None]
"""Host, process id and start time of a process."""
_PodName = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who requested a command."""

    user: str
    groups: tuple[str, ...]
    addresses: tuple[str, ...]
    command: str

    def fields(self) -> Mapping[str, Value]:
        """Return what alerts carry about the person."""
        return {
            "session.user": self.user,
            "session.groups": self.groups,
            "session.sourceips": self.addresses,
            "session.command": self.command,
        }


@dataclass(frozen=True, slots=True)
class _Request:
    identity: tuple[str, ...]
    time: int
    container: str | None
    words: tuple[str, ...]
    person: Person
    hosts: set[str] = field(default_factory=set)
    """Those on which a process was found for it: a host that claims to run the pod must not take it from another."""


@dataclass(frozen=True, slots=True)
class _Start:
    """The first process of a command in a container."""

    time: int
    container: str | None
    words: tuple[str, ...] | None
    identity: _Identity

    def fits(self, request: _Request) -> bool:
        """Return whether it may be what was requested."""
        is_near = abs(self.time - request.time) <= MAX_APART
        is_there = self.container is None or request.container is None or self.container == request.container
        return is_near and is_there and (self.words is None or self.words == request.words)


_Either = TypeVar("_Either", bound=_Request | _Start)


class Sessions:
    """The commands that people requested, and their processes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._requests: BoundedMap[_PodName, list[_Request]] = BoundedMap(MAX_PODS)
        self._starts: BoundedMap[_PodName, list[_Start]] = BoundedMap(MAX_PODS)
        self._people: BoundedMap[_Identity, Person] = BoundedMap(MAX_SESSIONS)
        self._offered: deque[AuditFields] = deque(maxlen=MAX_PODS)

    def offer(self, event: AuditFields) -> None:
        """Take an audit event from another thread: it counts from the next batch on."""
        self._offered.append(event)

    def see_event(self, event: AuditFields) -> None:
        """Take an audit event; those that don't request a command are ignored."""
        request = _request(event)
        if request is None:
            return
        pod = (str(event["ka.target.namespace"]), str(event["ka.target.name"]))
        known = self._requests.get(pod)
        if any(each.identity == request.identity for each in known or ()):
            return
        self._requests.put(pod, _recent(known, request))
        fitting: dict[str, list[_Start]] = {}
        for start in self._starts.get(pod) or ():
            if start.fits(request):
                fitting.setdefault(start.identity[0], []).append(start)
        for starts in fitting.values():
            nearest = _nearest(starts, request.time)
            if nearest is not None:
                self._join(pod, nearest, request)

    def see_batch(self, batch: EventBatch) -> None:
        """Take the starts of commands in a batch."""
        while self._offered:
            self.see_event(self._offered.popleft())
        if all(container.pod_name is None for container in batch.containers):
            return
        types, processes, times = (batch.columns[name] for name in ("type", "process", "time"))
        execs = {index for index, text in enumerate(batch.strings) if text in _EXECS}
        for index, kind in enumerate(types if execs else ()):
            if kind in execs:
                self._see_exec(batch, batch.processes[processes[index]], times[index])

    def _see_exec(self, batch: EventBatch, process: Process, time: int) -> None:
        if process.container < 0 or process.start_time is None:
            return
        container = batch.containers[process.container]
        parent = batch.processes[process.parent] if process.parent >= 0 else None
        # What a process of the container starts was not requested, whatever its name and words.
        if container.pod_name is None or (parent is not None and parent.container == process.container):
            return
        pod = (container.pod_namespace or "", container.pod_name)
        start = _Start(time, container.name, _words(process), _identity(batch, process))
        if self._people.get(start.identity) is not None:
            return
        open_requests = [each for each in self._requests.get(pod) or () if batch.host_id not in each.hosts]
        request = _nearest([each for each in open_requests if start.fits(each)], time)
        if request is None:
            self._starts.put(pod, _recent(self._starts.get(pod), start))
        else:
            self._join(pod, start, request)

    def _join(self, pod: _PodName, start: _Start, request: _Request) -> None:
        """Record who started a process; each request is for one process of a host."""
        request.hosts.add(start.identity[0])
        self._people.put(start.identity, request.person)
        self._starts.put(pod, [each for each in self._starts.get(pod) or () if each is not start])

    def named(self, alert: Alert, batch: EventBatch | None = None) -> Alert:
        """Return an alert with the person who started its process or an ancestor; the same alert if nobody is known.

        Args:
            alert: the alert.
            batch: that of its event, if it is at hand: it has all ancestors.
        """
        if not len(self._people) or alert.source != SYSCALL:
            return alert
        known = (self._people.get(identity) for identity in _ancestry(alert, batch))
        person = next((each for each in known if each is not None), None)
        if person is None:
            return alert
        output = f"{alert.output} session_user={person.user}"
        return bounded(replace(alert, output=output, output_fields={**alert.output_fields, **person.fields()}))


def _request(event: AuditFields) -> _Request | None:
    if event.source.name != K8S_AUDIT or event["ka.target.subresource"] != "exec":
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
    user = str(event["ka.user.name"] or "")[:_MAX_NAME]
    if not words or not user or str(event["ka.response.code"]) != "101":
        return None
    person = Person(user, _texts(event["ka.user.groups"]), _texts(event["ka.sourceips"]), " ".join(words))
    return _Request(event.identity, event.time, container, words, person)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, tuple) else ()


def _words(process: Process) -> tuple[str, ...] | None:
    if process.exe is None or process.args is None or process.is_args_truncated:
        return None
    return (process.exe, *process.args)


def _identity(batch: EventBatch, process: Process) -> _Identity:
    return (batch.host_id, process.pid, process.start_time)


def _nearest(found: list[_Either], time: int) -> _Either | None:
    return min(found, key=lambda each: abs(each.time - time), default=None)


def _recent(known: list[_Either] | None, new: _Either) -> list[_Either]:
    """Return what may still be matched, with a new one."""
    oldest = new.time - 2 * MAX_APART
    recent = [each for each in known or () if each.time >= oldest]
    return [*recent[-_MAX_OF_POD + 1 :], new]


def _ancestry(alert: Alert, batch: EventBatch | None) -> Iterable[_Identity]:
    """Yield the process of an alert and its ancestors; without its batch, only the parent."""
    number = alert.event.get("evt.num")
    index = number - batch.first_number if batch is not None and isinstance(number, int) else -1
    if batch is None or not 0 <= index < batch.count or batch.host_id != alert.host_id:
        for which in ("proc.pid", "proc.ppid"):
            pid, time = alert.event.get(which), alert.event.get(f"{which}.ts")
            if isinstance(pid, int) and isinstance(time, int):
                yield (alert.host_id, pid, time)
        return
    row = batch.columns["process"][index]
    while row >= 0:
        process = batch.processes[row]
        yield _identity(batch, process)
        row = process.parent
