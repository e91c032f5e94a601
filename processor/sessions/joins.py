"""Join people with processes: by requests for commands in pods, whichever is seen first, and by SSH logins. Pure."""

from collections import Counter, deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from foundation.caches import GroupAccounts
from foundation.text import canonical_address
from processor.sessions.records import SSHD_PROGRAMS, CommandRequest, Person, PersonsProcess, SshLogin, hashed
from schemas.batch import EventBatch, Process
from schemas.catalog.system_calls import EXECS

Bucket = TypeVar("Bucket", bound=Hashable)
Name = TypeVar("Name", bound=Hashable)
Entry = TypeVar("Entry")


class FairStore(Generic[Bucket, Name, Entry]):
    """Entries by bucket and name, up to a limit."""

    def __init__(self, maximum: int) -> None:
        """Begin empty. maximum: of entries in all buckets."""
        self._maximum = maximum
        self._buckets: dict[Bucket, dict[Name, tuple[str, Entry]]] = {}
        self._accounts: GroupAccounts[tuple[Bucket, Name]] = GroupAccounts()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, bucket: Bucket, name: Name) -> Entry | None:
        """Return an entry; None if there is none."""
        found = self._buckets.get(bucket, {}).get(name)
        return None if found is None else found[1]

    def within(self, bucket: Bucket) -> list[Entry]:
        """Return the entries of a bucket, the oldest first."""
        return [entry for _, entry in self._buckets.get(bucket, {}).values()]

    def entries(self) -> Iterable[Entry]:
        """Yield all entries."""
        return (entry for bucket in self._buckets.values() for _, entry in bucket.values())

    def put(self, owner: str, bucket: Bucket, name: Name, entry: Entry) -> list[Entry]:
        """Store an entry in place of the one of the same name.

        Args:
            owner: whose share of the room it takes.
            bucket: which entries are looked up together.
            name: of the entry in its bucket.
            entry: what to store.

        Returns:
            The entries that were evicted to make room.
        """
        self.remove(bucket, name)
        self._buckets.setdefault(bucket, {})[name] = (owner, entry)
        self._accounts.touch(owner, (bucket, name))
        self._count += 1
        gone = []
        while self._count > self._maximum:
            oldest = self._accounts.oldest_of_largest()
            gone.append(self._buckets[oldest[0]][oldest[1]][1])
            self.remove(*oldest)
        return gone

    def remove(self, bucket: Bucket, name: Name) -> None:
        """Remove an entry, if there is one."""
        entries = self._buckets.get(bucket)
        if entries is None or name not in entries:
            return
        owner, _ = entries.pop(name)
        self._accounts.leave(owner, (bucket, name))
        self._count -= 1
        if not entries:
            del self._buckets[bucket]


MAX_APART = 10_000_000_000
"""How far a request and the start of its command may be apart, ns."""
MAX_REQUESTS = 10_000
MAX_STARTS = 20_000
MAX_SESSIONS = 20_000
_CLOCK_ERROR = 1_000_000_000
"""How far the corrected start times of one process may differ, ns: its host's offset is measured to half a second."""

_PodName = tuple[str, str]
"""Namespace and name."""
_ProcessName = tuple[str, int, int]
"""Host, process id and start time."""


@dataclass(frozen=True, slots=True)
class _Request:
    content: CommandRequest
    hosts: set[str] = field(default_factory=set)
    """The hosts with a process for it: a host that claims to run the pod must not take it from another."""

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
        """The number of discarded requests without a process, starts that a request could still fit, and sessions."""
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
        execs = {index for index, text in enumerate(batch.strings) if text in EXECS}
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


_CONNECTION = "SSH_CONNECTION="
_ROOT = 0
_MOST_PROCESSES = 4
"""More than sshd has for one login, where privileges are separated."""


def person_in(batch: EventBatch, process: Process) -> Person | None:
    """Return who logged in, if a process is what sshd started for a login; None for others, also below it.

    Args:
        batch: of the process.
        process: the process.
    """
    value = next((each for each in process.env or () if each.startswith(_CONNECTION)), "")
    if not value or not _is_started_by_sshd(batch, process):
        return None
    address = canonical_address(value.removeprefix(_CONNECTION).partition(" ")[0])
    user = process.user or ("" if process.uid is None else str(process.uid))
    return Person(user, (address,)).clipped() if address and user else None


def _is_started_by_sshd(batch: EventBatch, process: Process) -> bool:
    """Return whether the parent is root's sshd, or the user's whose parent is that; users may run another one."""
    program, row = None, process.parent
    for _ in range(_MOST_PROCESSES):
        if row < 0:
            break
        ancestor = batch.processes[row]
        if ancestor.name not in SSHD_PROGRAMS or ancestor.exepath is None or ancestor.container >= 0:
            return False
        program = program or ancestor.exepath
        if ancestor.exepath != program:
            return False
        if ancestor.uid == _ROOT:
            return True
        row = ancestor.parent
    return False


MAX_LOGINS = 20_000


class SshLogins:
    """The logins of all hosts, by the process that accepted them."""

    def __init__(self) -> None:
        """Begin with none."""
        self.evicted: Counter[str] = Counter()
        """Logins that had to make room."""
        self._logins: FairStore[int, str, SshLogin] = FairStore(MAX_LOGINS)

    def __len__(self) -> int:
        return len(self._logins)

    def records(self) -> Iterable[SshLogin]:
        """Yield all logins, so that another process can go on with them."""
        return self._logins.entries()

    def add(self, login: SshLogin) -> None:
        """Take a login; one that is known already changes nothing."""
        if self._logins.get(login.pid, login.key) is None:
            gone = self._logins.put(login.machine or login.hostname, login.pid, login.key, login)
            self.evicted["login"] += len(gone)

    def get(self, batch: EventBatch, process: Process, time: int) -> SshLogin | None:
        """Return the login that a process accepted; None if it accepted none.

        Args:
            batch: of the process.
            process: the process.
            time: at which it ran, ns since the epoch.
        """
        if process.name not in SSHD_PROGRAMS or process.start_time is None or process.container >= 0:
            return None
        # A process that is older than a login and still there is the one that had this id then: none other could.
        fitting = [
            each
            for each in self._logins.within(process.pid)
            if _is_host(each, batch) and process.start_time <= each.time + MAX_APART and each.time <= time + MAX_APART
        ]
        return max(fitting, key=lambda each: each.time, default=None)


def _is_host(login: SshLogin, batch: EventBatch) -> bool:
    # Several hosts may have one name.
    return login.machine == batch.host_id if login.machine else login.hostname == batch.hostname != ""
