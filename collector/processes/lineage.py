"""Ancestors: who counts as a parent after adoption, and how much of a dead past is kept.

When a parent ends, the kernel gives its children to an init, and who started whom is lost. Here a child keeps the
parent that it came from, so that a web server that starts a daemon stays visible as its ancestor.
"""

from collections.abc import Callable, Iterator, Mapping

from collector.processes.process import TrackedProcess

MAX_EXITED = 64
"""Ended ancestors kept of one process; a chain that forks and exits for ever must not grow for ever."""

_RUNTIME_HELPERS = frozenset({"runc", "crun", "youki", "runsc", "docker-runc"})
_SHIMS = ("containerd-shim", "conmon")

MAX_WALK = 1024
"""Ancestors looked at of one process, so that a chain of forks costs no more than linear time."""


def ancestors(entry: TrackedProcess) -> Iterator[TrackedProcess]:
    """Give parent, grandparent and so on, at most MAX_WALK of them."""
    above = entry.parent
    for _ in range(MAX_WALK):
        if above is None:
            return
        yield above
        above = above.parent


def is_adoption(entry: TrackedProcess, new_parent: TrackedProcess) -> bool:
    """Tell whether a parent that the kernel names anew is only an init that takes in orphans.

    A subreaper is not: a container runtime's shim adopts what its short-lived helper started, and it is the shim
    that answers for that process. Nor is there anything to keep where the old parent isn't known.
    """
    if entry.parent is None or entry.parent.is_stale:
        return False
    return new_parent.pid == 1 or new_parent.place.vpid == 1


def behind_helper(parent: TrackedProcess) -> TrackedProcess:
    """Give a container process's parent for good: the shim, where the kernel still names the shim's helper.

    The helper (runc) ends once the process runs, and the shim adopts it. Whether that is before or after the
    process's first act is a matter of luck, so the answer is the same in both cases.
    """
    above = parent.parent
    if above is None or parent.container is not None or parent.program.name not in _RUNTIME_HELPERS:
        return parent
    return above if (above.program.name or "").startswith(_SHIMS) else parent


def trim(entry: TrackedProcess) -> TrackedProcess | None:
    """Cut ended ancestors beyond MAX_EXITED out of a chain; give the entry whose parent changed, if any."""
    ended = 0
    last_kept: TrackedProcess | None = None
    for ancestor in ancestors(entry):
        if ancestor.exited_at is not None:
            ended += 1
        elif last_kept is not None and ended > MAX_EXITED:
            last_kept.parent = ancestor
            return last_kept
        if ended == MAX_EXITED:
            last_kept = ancestor
    if last_kept is not None and ended > MAX_EXITED:
        last_kept.parent = None
        return last_kept
    return None


def find_leader(
    entry: TrackedProcess,
    number: int | None,
    number_of: Callable[[TrackedProcess], int | None],
    living: Mapping[int, TrackedProcess],
) -> TrackedProcess | None:
    """Give the leader of a session or process group; None where the number isn't known.

    Where the leader is gone (its pid may be another's by now), it is the eldest of the ancestors in the same group.

    Args:
        entry: the process whose leader is asked for.
        number: its session's or group's number, which is its leader's pid.
        number_of: gives the same number of other processes.
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
    for ancestor in ancestors(entry):
        if number_of(ancestor) != number:
            break
        eldest = ancestor
    return eldest


def freeze(entry: TrackedProcess) -> TrackedProcess:
    """Copy an entry and its ancestors; copies are shared until something changes."""
    above: TrackedProcess | None = None
    copy = entry
    for each in reversed([entry, *ancestors(entry)]):
        if each.frozen is None or each.frozen[0] != each.version or each.frozen[1].parent is not above:
            copy = each.copy()
            copy.parent = above
            each.frozen = (each.version, copy)
        above = copy = each.frozen[1]
    return copy
