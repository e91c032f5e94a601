"""Joins requests for commands in pods with the processes that they start, whichever is seen first. Pure."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from processor.sessions.reading import hashed
from processor.sessions.records import CommandRequest, PersonsProcess
from processor.sessions.store import FairStore
from schemas.batch import EventBatch, Process

MAX_APART = 10_000_000_000
"""How far a request and the start of its command may be apart, ns."""
MAX_REQUESTS = 10_000
MAX_STARTS = 20_000
MAX_SESSIONS = 20_000
_CLOCK_ERROR = 1_000_000_000
"""How far the corrected start times of one process may differ, ns: its host's offset is measured to half a second."""
_EXECS = frozenset({"execve", "execveat"})

_PodName = tuple[str, str]
"""Namespace and name."""
_ProcessName = tuple[str, int, int]
"""Host, process id and start time."""


@dataclass(frozen=True, slots=True)
class _Request:
    content: CommandRequest
    hosts: set[str] = field(default_factory=set)
    """Those on which a process was found for it: a host that claims to run the pod must not take it from another."""

    @property
    def time(self) -> int:
        return self.content.time


@dataclass(frozen=True, slots=True)
class _Start:
    """The first process of a command in a container."""

    time: int
    container: str | None
    words: str | None
    process: _ProcessName

    def fits(self, request: CommandRequest) -> bool:
        """Return whether it may be what was requested."""
        is_near = abs(self.time - request.time) <= MAX_APART
        is_there = self.container is None or request.container is None or self.container == request.container
        return is_near and is_there and (self.words is None or self.words == request.words)


_Either = TypeVar("_Either", _Request, _Start)


class PodCommands:
    """The commands that people requested, and their processes."""

    def __init__(self) -> None:
        """Begin with none."""
        self.evicted: Counter[str] = Counter()
        """What had to make room: requests without a process, starts that a request could still fit, and sessions."""
        self.joined: deque[PersonsProcess] = deque(maxlen=MAX_SESSIONS)
        """Processes whose person was found here; whoever takes them clears it."""
        self._requests: FairStore[_PodName, str, _Request] = FairStore(MAX_REQUESTS)
        self._starts: FairStore[_PodName, _ProcessName, _Start] = FairStore(MAX_STARTS)
        self._known: FairStore[tuple[str, int], int, PersonsProcess] = FairStore(MAX_SESSIONS)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, host_id: str, process: Process) -> PersonsProcess | None:
        """Return what is known of a process; None if nobody requested it."""
        return None if process.start_time is None else self._find((host_id, process.pid, process.start_time))

    def records(self) -> Iterable[CommandRequest | PersonsProcess]:
        """Yield all requests and processes, so that another process can go on with them."""
        yield from (each.content for each in self._requests.entries())
        yield from self._known.entries()

    def add_request(self, content: CommandRequest) -> None:
        """Take a request; one that is known already changes nothing."""
        pod = (content.namespace, content.pod)
        if self._requests.get(pod, content.id) is not None:
            return
        request = _Request(content)
        for gone in self._requests.put(content.person.user, pod, content.id, request):
            self.evicted["request"] += not gone.hosts
        fitting: dict[str, list[_Start]] = {}
        for start in self._starts.within(pod):
            if start.fits(content):
                fitting.setdefault(start.process[0], []).append(start)
        for starts in fitting.values():
            self._join(pod, _nearest(starts, content.time), request)

    def add_process(self, known: PersonsProcess) -> None:
        """Take a process whose person another processor found."""
        pod, process = (known.namespace, known.pod), (known.host_id, known.pid, known.start)
        request = self._requests.get(pod, known.request)
        if request is not None:
            request.hosts.add(known.host_id)
        self._starts.remove(pod, process)
        if self._find(process) is None:
            self._store(known)

    def see_batch(self, batch: EventBatch) -> None:
        """Take the starts of commands in a batch."""
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
        name = (batch.host_id, process.pid, process.start_time)
        if self._find(name) is not None:
            return
        start = _Start(time, container.name, _words(process), name)
        free = [each for each in self._requests.within(pod) if batch.host_id not in each.hosts]
        fitting = [each for each in free if start.fits(each.content)]
        if fitting:
            self._join(pod, start, _nearest(fitting, time))
            return
        for gone in self._starts.put(batch.host_id, pod, name, start):
            self.evicted["start"] += time - gone.time <= 2 * MAX_APART

    def _join(self, pod: _PodName, start: _Start, request: _Request) -> None:
        """Record who started a process; each request is for one process of a host."""
        content = request.content
        request.hosts.add(start.process[0])
        self._starts.remove(pod, start.process)
        known = PersonsProcess(*start.process, start.time, *pod, content.id, content.person)
        self._store(known)
        self.joined.append(known)

    def _store(self, known: PersonsProcess) -> None:
        gone = self._known.put(known.host_id, (known.host_id, known.pid), known.start, known)
        self.evicted["session"] += len(gone)

    def _find(self, name: _ProcessName) -> PersonsProcess | None:
        host_id, pid, start = name
        found = self._known.within((host_id, pid))
        return next((each for each in found if abs(each.start - start) <= _CLOCK_ERROR), None)


def _words(process: Process) -> str | None:
    if process.exe is None or process.args is None or process.is_args_truncated:
        return None
    return hashed((process.exe, *process.args))


def _nearest(found: list[_Either], time: int) -> _Either:
    return min(found, key=lambda each: abs(each.time - time))
