"""What is known of cgroups and pid namespaces by their inode numbers, which records contain."""

from collector.processes.process import TrackedProcess
from collector.records.types import State
from schemas.caching.bounded import BoundedMap

_MAX_ENTRIES = 4096


class Namespaces:
    """Paths of cgroups, and the start and first process of pid namespaces."""

    def __init__(self) -> None:
        self._cgroups: BoundedMap[int, str] = BoundedMap(_MAX_ENTRIES)
        self._starts: BoundedMap[int, int] = BoundedMap(_MAX_ENTRIES)
        self._first: BoundedMap[int, TrackedProcess] = BoundedMap(_MAX_ENTRIES)

    def learn(self, entry: TrackedProcess, state: State) -> None:
        """Store what a state record reveals; entry is its process."""
        self._cgroups.put(state.who.cgroup_id, state.cgroup)
        self._starts.put(state.pid_namespace, state.pid_namespace_init_start)
        if state.vpid == 1:
            self._first.put(state.pid_namespace, entry)

    def learn_first(self, namespace: int, entry: TrackedProcess) -> None:
        """Store a pid namespace's first process, found in /proc."""
        self._starts.put(namespace, entry.start_time)
        self._first.put(namespace, entry)

    def cgroup(self, cgroup_id: int) -> str | None:
        """Return the path of a cgroup; None if it isn't known."""
        return self._cgroups.get(cgroup_id)

    def start(self, namespace: int) -> int | None:
        """Return the start of a pid namespace's first process, boot-clock nanoseconds; None if it isn't known."""
        return self._starts.get(namespace)

    def first_in_container(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the living first process of a process's pid namespace, if it is in the same container."""
        first = self._first.get(entry.context.pid_namespace or 0)
        return first if first is not None and first.exited_at is None and first.container == entry.container else None
