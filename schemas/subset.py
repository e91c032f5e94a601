"""Copies some events of a batch into a smaller one, which holds no text and no process that they don't refer to."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from schemas.batch import EVENT_COLUMNS, STRING_COLUMNS, EventBatch, Process, empty_columns

_LINKS = ("parent", "session_leader", "group_leader")


def subset(
    batch: EventBatch,
    events: Sequence[int],
    *,
    rewrite: Callable[[str], str] = str,
    has_process: Callable[[int], bool] = lambda _row: True,
    cleaned: Callable[[Process], Process] = lambda process: process,
) -> EventBatch:
    """Return a batch with some of the events, and what they refer to.

    Args:
        batch: is not changed.
        events: their indexes.
        rewrite: changes each text of the events.
        has_process: returns whether the process in a row is stored; ancestries end where it isn't.
        cleaned: changes each process.
    """
    strings = _Strings(batch.strings, rewrite)
    rows = _Rows(batch.processes, has_process, cleaned)
    columns = empty_columns()
    starts = batch.columns["arg_start"]
    for event in events:
        for name in EVENT_COLUMNS:
            value = batch.columns[name][event]
            if name == "process":
                value = rows.take(value)
            elif name in STRING_COLUMNS:
                value = strings.take(value)
            columns[name].append(value)
        for argument in range(starts[event], starts[event + 1]):
            columns["arg_name"].append(strings.take(batch.columns["arg_name"][argument]))
            columns["arg_value"].append(strings.take(batch.columns["arg_value"][argument]))
            columns["arg_raw"].append(batch.columns["arg_raw"][argument])
        columns["arg_start"].append(len(columns["arg_name"]))
    return replace(batch, count=len(events), strings=strings.stored, processes=rows.stored, columns=dict(columns))


class _Strings:
    """The texts still referred to, each once."""

    def __init__(self, texts: Sequence[str | None], rewrite: Callable[[str], str]) -> None:
        self._texts, self._rewrite = texts, rewrite
        self._indexes: dict[str | None, int] = {None: 0}
        self.stored: list[str | None] = [None]

    def take(self, index: int) -> int:
        text = self._texts[index]
        if text is not None:
            text = self._rewrite(text)
        known_index = self._indexes.setdefault(text, len(self.stored))
        if known_index == len(self.stored):
            self.stored.append(text)
        return known_index


class _Rows:
    """The processes still referred to."""

    def __init__(
        self, rows: Sequence[Process], has: Callable[[int], bool], cleaned: Callable[[Process], Process]
    ) -> None:
        self._rows, self._has, self._cleaned = rows, has, cleaned
        self._indexes: dict[int, int] = {}
        self.stored: list[Process] = []

    def take(self, row: int) -> int:
        if row < 0 or not self._has(row):
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
