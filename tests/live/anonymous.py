"""Removes from event batches what isn't public: other processes' events and details of this machine."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from schemas.batch import ARGUMENT_COLUMNS, EVENT_COLUMNS, STRING_COLUMNS, EventBatch, Process

HOST_ID = "0" * 32
HOSTNAME = "example"
BOOT_ID = "00000000-0000-4000-8000-000000000000"
_LINKS = ("parent", "session_leader", "group_leader")


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
    rows = _Rows(batch, root, tuple(rewrite))
    events = [
        index
        for index, row in enumerate(batch.columns["process"][: batch.count])
        if keep(batch.processes[row], rows.above(row))
    ]
    stored = _copied(batch, events, rows)
    return replace(stored, host_id=HOST_ID, hostname=HOSTNAME, boot_id=BOOT_ID, lost={})


def only(batch: EventBatch, events: Sequence[int]) -> EventBatch:
    """Return a batch with some of the events, by their indexes, and what they refer to."""
    return _copied(batch, events, _Rows(batch, None, ()))


def _copied(batch: EventBatch, events: Sequence[int], rows: "_Rows") -> EventBatch:
    strings = _Strings(batch.strings, rows.pairs)
    columns: dict[str, array[int]] = {name: array(code) for name, code in {**EVENT_COLUMNS, **ARGUMENT_COLUMNS}.items()}
    columns["arg_start"].append(0)
    for event in events:
        for name in EVENT_COLUMNS:
            value = batch.columns[name][event]
            if name == "process":
                value = rows.take(value)
            elif name in STRING_COLUMNS:
                value = strings.take(value)
            columns[name].append(value)
        for argument in range(batch.columns["arg_start"][event], batch.columns["arg_start"][event + 1]):
            columns["arg_name"].append(strings.take(batch.columns["arg_name"][argument]))
            columns["arg_value"].append(strings.take(batch.columns["arg_value"][argument]))
            columns["arg_raw"].append(batch.columns["arg_raw"][argument])
        columns["arg_start"].append(len(columns["arg_name"]))
    return replace(batch, count=len(events), strings=strings.stored, processes=rows.stored, columns=dict(columns))


def rewritten(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Apply replacements to a text, in order."""
    for old, new in pairs:
        text = text.replace(old, new)
    return text


class _Strings:
    """The texts still referred to, each once."""

    def __init__(self, texts: list[str | None], pairs: tuple[tuple[str, str], ...]) -> None:
        self._texts, self._pairs = texts, pairs
        self._indexes: dict[str | None, int] = {None: 0}
        self.stored: list[str | None] = [None]

    def take(self, index: int) -> int:
        text = self._texts[index]
        if text is not None:
            text = rewritten(text, self._pairs)
        known_index = self._indexes.setdefault(text, len(self.stored))
        if known_index == len(self.stored):
            self.stored.append(text)
        return known_index


class _Rows:
    """The processes still referred to; an ancestry ends below its root, if there is one."""

    def __init__(self, batch: EventBatch, root: int | None, pairs: tuple[tuple[str, str], ...]) -> None:
        self._rows, self._root, self.pairs = batch.processes, root, pairs
        self._indexes: dict[int, int] = {}
        self.stored: list[Process] = []

    def above(self, row: int) -> frozenset[int]:
        found = set()
        parent = self._rows[row].parent
        while parent >= 0:
            found.add(self._rows[parent].pid)
            parent = self._rows[parent].parent
        return frozenset(found)

    def take(self, row: int) -> int:
        if row < 0 or not self._is_below_root(row):
            return -1
        known_index = self._indexes.get(row)
        if known_index is None:
            process = self._rows[row]
            # Rows referred to come first: a parent's row is smaller than its child's.
            links = {name: self.take(getattr(process, name)) for name in _LINKS if getattr(process, name) != row}
            known_index = self._indexes[row] = len(self.stored)
            links |= {name: known_index for name in _LINKS if getattr(process, name) == row}
            self.stored.append(
                replace(
                    self._cleaned(process),
                    parent=links["parent"],
                    session_leader=links["session_leader"],
                    group_leader=links["group_leader"],
                )
            )
        return known_index

    def _is_below_root(self, row: int) -> bool:
        return self._root is None or (self._rows[row].pid != self._root and self._root in self.above(row))

    def _cleaned(self, process: Process) -> Process:
        def text(value: str | None) -> str | None:
            return None if value is None else rewritten(value, self.pairs)

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
            args=None if process.args is None else tuple(rewritten(each, self.pairs) for each in process.args),
            env=None,
            cgroup=process.cgroup if process.container >= 0 else "/",
        )
