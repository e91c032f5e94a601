"""Ancestors: which parent counts after an adoption, and how many ended ancestors are retained.

When a parent ends, the kernel reparents its children to an init, and who started them is lost. Here a child retains its
original parent, so that a web server that starts a daemon stays visible as its ancestor.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from collector.processes.process import TrackedProcess

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
    """Return the leader of a session or process group; None if the number isn't known.

    If the leader is gone (its pid may belong to another process by now), return the eldest ancestor in the same group.

    Args:
        entry: the process whose leader is looked up.
        number: its session or group, which is the leader's pid.
        number_of: returns the same number of other processes.
        living: processes by pid.

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


def freeze_with_leaders(
    entry: TrackedProcess, session: TrackedProcess | None, group: TrackedProcess | None
) -> TrackedProcess:
    """Copy an entry, its ancestors, and the leaders of its session and process group."""
    copy = freeze(entry)
    if session is not None and session is not entry and copy.session_leader is None:
        copy.session_leader = freeze(session)
    if group is not None and group is not entry and copy.group_leader is None:
        copy.group_leader = freeze(group)
    return copy
