"""Finds who logged in by SSH in the environment that sshd gives to what it starts, if it is collected. Pure.

It needs no log and no state: each batch has the ancestors of its processes.
"""

from processor.sessions.reading import SSHD_PROGRAMS
from processor.sessions.records import Person
from schemas.batch import EventBatch, Process
from schemas.text.addresses import canonical_address

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
