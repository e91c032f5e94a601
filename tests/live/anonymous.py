"""Removes from event batches what isn't public: other processes' events and details of this machine."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from schemas.batch import EventBatch, Process, subset

HOST_ID = "0" * 32
HOSTNAME = "example"
BOOT_ID = "00000000-0000-4000-8000-000000000000"


def anonymous(
    batch: EventBatch, root: int, keep: Callable[[Process, frozenset[int]], bool], rewrite: Iterable[tuple[str, str]]
) -> EventBatch:
    """Return a batch with the events of some processes, on a machine without a name.

    Args:
        batch: as the collector made it.
        root: the process id at which ancestries end.
        keep: returns whether the events of a process stay, given it and its ancestors' ids.
        rewrite: pieces of text and their replacements.
    """
    pairs = tuple(rewrite)

    def above(row: int) -> frozenset[int]:
        found = set()
        parent = batch.processes[row].parent
        while parent >= 0:
            found.add(batch.processes[parent].pid)
            parent = batch.processes[parent].parent
        return frozenset(found)

    def text(value: str | None) -> str | None:
        return None if value is None else rewritten(value, pairs)

    def cleaned(process: Process) -> Process:
        return replace(
            process,
            exe=text(process.exe),
            exepath=text(process.exepath),
            codepath=text(process.codepath),
            cwd=text(process.cwd),
            user=text(process.user),
            group=text(process.group),
            login_name=text(process.login_name),
            home=text(process.home),
            args=None if process.args is None else tuple(rewritten(each, pairs) for each in process.args),
            env=None,
            cgroup=process.cgroup if process.container >= 0 else "/",
            script=None if process.script is None else replace(process.script, path=text(process.script.path)),
        )

    stored = subset(
        batch,
        [
            index
            for index, row in enumerate(batch.columns["process"][: batch.count])
            if keep(batch.processes[row], above(row))
        ],
        rewrite=lambda value: rewritten(value, pairs),
        has_process=lambda row: batch.processes[row].pid != root and root in above(row),
        cleaned=cleaned,
    )
    return replace(stored, host_id=HOST_ID, hostname=HOSTNAME, boot_id=BOOT_ID, lost={})


def rewritten(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Apply replacements to a text, in order."""
    for old, new in pairs:
        text = text.replace(old, new)
    return text
