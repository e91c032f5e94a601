"""Finds the rows of batches that belong to the family of a process, before any of their events is formatted.

On a busy host, nearly all events are of other processes.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from lanner.recorder.context import Rows
from schemas.alert import Alert
from schemas.batch import EventBatch, Process

SAME_START = 1_000_000_000
"""Collectors know the start of an older process to 10 ms only, and clocks are corrected: pids repeat less often, ns."""
INIT = 1
_MAX_KNOWN = 100_000
"""Processes that are remembered; others are recognized by a parent in their own batch."""
Identity = tuple[int, int | None]
"""Pid, and start in ns since the epoch; None if it is unknown."""


def is_same_start(known: int | None, start: int | None) -> bool:
    """Return whether processes with one pid are one process."""
    return known is None or start is None or abs(known - start) < SAME_START


def family_of_alert(alert: Alert) -> tuple[Identity, ...]:
    """Return the process of an alert and the one whose descendants are shown; empty if the alert names no process.

    The alert itself states them, so they are known although its event was lost.
    """
    found: list[Identity] = []
    for pid, start in (("proc.pid", "proc.pid.ts"), ("proc.ppid", "proc.ppid.ts")):
        number, begun = alert.event.get(pid), alert.event.get(start)
        if isinstance(number, int) and (number > INIT or not found):
            found.append((number, begun if isinstance(begun, int) else None))
    return tuple(found) if "proc.pid" in alert.event else ()


def family_of_event(batch: EventBatch, index: int) -> tuple[Identity, ...]:
    """Return the process of an event and the one whose descendants are shown."""
    process = batch.processes[batch.columns["process"][index]]
    parent = batch.processes[process.parent] if process.parent >= 0 else None
    return (identity(process), *([identity(parent)] if parent is not None and parent.pid > INIT else []))


def identity(process: Process) -> Identity:
    """Return the identity of a process."""
    return process.pid, process.start_time


def rows_of_family(alert: Alert | None) -> Rows | None:
    """Return what finds the rows of an alert's family; None if the alert is unknown or names no process."""
    known = () if alert is None else family_of_alert(alert)
    return Relatives(known).rows if known else None


class Relatives:
    """Takes the batches of one host in order; finds the family's processes and their ancestors."""

    def __init__(self, family: Iterable[Identity]) -> None:
        """Begin with the known processes of the family."""
        self._descendants: dict[int, list[int | None]] = {}
        self._ancestors: dict[int, list[int | None]] = {}
        self._count = 0
        for each in family:
            self._add(self._descendants, each)

    def rows(self, batch: EventBatch) -> AbstractSet[int]:
        """Return the rows of a batch's processes that are of the family, or ancestors of it."""
        descendants: set[int] = set()
        above: set[int] = set()
        # A parent's row is before those of its children.
        for row, process in enumerate(batch.processes):
            each = identity(process)
            if process.parent in descendants:
                descendants.add(row)
                self._add(self._descendants, each)
            elif self._has(self._descendants, each):
                descendants.add(row)
                at = process.parent
                while at >= 0 and at not in above:
                    above.add(at)
                    self._add(self._ancestors, identity(batch.processes[at]))
                    at = batch.processes[at].parent
            elif self._has(self._ancestors, each):
                above.add(row)
        return descendants | above

    def _add(self, known: dict[int, list[int | None]], each: Identity) -> None:
        if not self._has(known, each) and self._count < _MAX_KNOWN:
            self._count += 1
            known.setdefault(each[0], []).append(each[1])

    @staticmethod
    def _has(known: dict[int, list[int | None]], each: Identity) -> bool:
        return any(is_same_start(start, each[1]) for start in known.get(each[0], ()))
