"""What is known of cgroups and pid namespaces by their inode numbers, which records contain."""

from dataclasses import replace

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
        self._newest: tuple[int, str, int, int] | None = None

    def learn(self, entry: TrackedProcess, state: State) -> None:
        """Store what a state record reveals; entry is its process."""
        known = (state.who.cgroup_id, state.cgroup, state.pid_namespace, state.pid_namespace_init_start)
        if known != self._newest:
            self._newest = known
            self._cgroups.put(state.who.cgroup_id, state.cgroup)
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

    def cgroup(self, cgroup_id: int) -> str | None:
        """Return the path of a cgroup; None if it isn't known."""
        return self._cgroups.get(cgroup_id)

    def first_in_container(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the living first process of a process's pid namespace, if it is in the same container."""
        first = self._first.get(entry.context.pid_namespace or 0)
        return first if first is not None and first.exited_at is None and first.container == entry.container else None
