"""Ancestors: which parent counts after an adoption, and how many ended ancestors are retained.

When a parent ends, the kernel reparents its children to an init, and who started them is lost. Here a child retains its
original parent, so that a web server that starts a daemon stays visible as its ancestor.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from collector.processes.process import TrackedProcess
from collector.records.types import State
from foundation.caches import BoundedMap

MAX_EXITED = 64
"""Ended ancestors retained per process, so that an endless chain of fork and exit doesn't grow without bound."""

_RUNTIME_HELPERS = frozenset({"runc", "crun", "youki", "runsc", "docker-runc"})
_SHIMS = ("containerd-shim", "conmon")

MAX_WALK = 1024
"""Ancestors examined per process, so that a chain of forks costs linear time at most."""


MAX_ELDER = 64
"""Ancestors among which the eldest of a session or group without a leader is looked for: an event has many of these."""


def ancestors(entry: TrackedProcess) -> Iterator[TrackedProcess]:
    """Yield the parent, grandparent and so on, at most MAX_WALK of them."""
    above = entry.parent
    for _ in range(MAX_WALK):
        if above is None:
            return
        yield above
        above = above.parent


def is_adoption(entry: TrackedProcess, new_parent: TrackedProcess) -> bool:
    """Return whether a new parent is only an init that adopts orphans.

    A subreaper is different: a container runtime's shim adopts what its short-lived helper started, and the shim is the
    process responsible for it. If the old parent is unknown, there is nothing to retain either.
    """
    if entry.parent is None or entry.parent.is_stale:
        return False
    return new_parent.pid == 1 or new_parent.context.vpid == 1


def behind_helper(parent: TrackedProcess) -> TrackedProcess:
    """Return a container process's lasting parent: the shim, even while the kernel still names the shim's helper.

    The helper (runc) ends once the process runs, and the shim adopts it. Whether that happens before or after the
    process's first system call is a race, so the result is the same in both cases.
    """
    above = parent.parent
    if above is None or parent.container is not None or parent.program.name not in _RUNTIME_HELPERS:
        return parent
    return above if (above.program.name or "").startswith(_SHIMS) else parent


def trim(entry: TrackedProcess) -> TrackedProcess | None:
    """Cut ended ancestors beyond MAX_EXITED out of a chain; return the process whose parent changed, if any."""
    if entry.depth <= MAX_EXITED:
        return None
    ended = 0
    last_retained: TrackedProcess | None = None
    for ancestor in ancestors(entry):
        if ancestor.exited_at is not None:
            ended += 1
        elif last_retained is not None and ended > MAX_EXITED:
            last_retained.parent = ancestor
            return last_retained
        if ended == MAX_EXITED:
            last_retained = ancestor
    if last_retained is not None and ended > MAX_EXITED:
        last_retained.parent = None
        return last_retained
    return None


def find_leader(
    entry: TrackedProcess,
    number: int | None,
    number_of: Callable[[TrackedProcess], int | None],
    living: Mapping[int, TrackedProcess],
) -> TrackedProcess | None:
    """Return the leader of a session or process group; None if the number, which is the leader's pid, isn't known.

    If the leader is gone (its pid may belong to another process by now), return the eldest ancestor in the same group.
    number_of returns the same number of other processes.

    Source: proc.sname and proc.pgid.name in Falco's field reference.
    """
    if not number:
        return None
    if number == entry.pid:
        return entry
    leader = living.get(number)
    if leader is not None and number_of(leader) == number:
        return leader
    eldest = entry
    for ancestor in islice(ancestors(entry), MAX_ELDER):
        if number_of(ancestor) != number:
            break
        eldest = ancestor
    return eldest


def freeze(entry: TrackedProcess) -> TrackedProcess:
    """Copy a process and its ancestors; copies are shared until something changes."""
    above: TrackedProcess | None = None
    copy = entry
    for each in reversed([entry, *ancestors(entry)]):
        if each.frozen is None or each.frozen[0] != each.version or each.frozen[1].parent is not above:
            copy = each.copy()
            copy.parent = above
            each.frozen = (each.version, copy)
        above = copy = each.frozen[1]
    return copy


_MAX_ENTRIES = 4096


class Namespaces:
    """Paths of cgroups, and the start and first process of pid namespaces."""

    def __init__(self) -> None:
        self.cgroups: BoundedMap[int, str] = BoundedMap(_MAX_ENTRIES)
        """Paths by cgroup."""
        self._starts: BoundedMap[int, int] = BoundedMap(_MAX_ENTRIES)
        self._first: BoundedMap[int, TrackedProcess] = BoundedMap(_MAX_ENTRIES)
        self._newest: tuple[int, str, int, int] | None = None

    def learn(self, entry: TrackedProcess, state: State) -> None:
        """Store what a state record reveals; entry is its process."""
        known = (state.who.cgroup_id, state.cgroup, state.pid_namespace, state.pid_namespace_init_start)
        if known != self._newest:
            self._newest = known
            self.cgroups.put(state.who.cgroup_id, state.cgroup)
            self._starts.put(state.pid_namespace, state.pid_namespace_init_start)
        if state.vpid == 1:
            self._first.put(state.pid_namespace, entry)

    def complete(self, entry: TrackedProcess) -> None:
        """Set when the pid namespace of a process began if /proc did not show it; its first process reveals it."""
        context = entry.context
        if context.pid_namespace is None or context.pid_namespace_init_start is not None:
            return
        if context.vpid == 1:
            self._newest = None
            self._starts.put(context.pid_namespace, entry.start_time)
            self._first.put(context.pid_namespace, entry)
        start = self._starts.get(context.pid_namespace)
        if start is not None:
            entry.context = replace(context, pid_namespace_init_start=start)

    def first_in_container(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the living first process of a process's pid namespace, if it is in the same container."""
        first = self._first.get(entry.context.pid_namespace or 0)
        return first if first is not None and first.exited_at is None and first.container == entry.container else None


GRACE = 3_000_000_000
"""Nanoseconds of record time: records are sorted by time, and counts of repeats come within a second."""

MAX_ENTRIES = 2048
"""A storm ends thousands a second. Each takes nearly 1 KB, and memory of the peak stays with this process."""


class RecentlyExited:
    """The last processes to end, by pid and start time, bounded by count and by record time."""

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        self._limit = limit
        self._entries: OrderedDict[tuple[int, int], TrackedProcess] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: TrackedProcess, time: int) -> None:
        """Add a process that ended at a time (boot clock, ns) and drop those that are too old."""
        entry.exited_at = time
        self._entries[entry.pid, entry.start_time] = entry
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if len(self._entries) <= self._limit and time - (oldest.exited_at or 0) <= GRACE:
                return
            self._entries.popitem(last=False)

    def find(self, pid: int, start_time: int) -> TrackedProcess | None:
        """Look up by exact start time; a process whose exact time never became known can't be found."""
        return self._entries.get((pid, start_time))
