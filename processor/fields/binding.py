"""The names that generated code may use, and their binding to a batch.

- ``i`` is the event's index, ``n`` the string index of the file name under which the event is evaluated,
  ``p`` the index of the event's process row, ``q`` that row;
- ``B`` is the batch, ``S`` its strings, ``P`` its processes, ``C`` its containers, ``c_NAME`` its columns;
- FUNCTIONS can be called by name.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from processor.fields import container, event, pod, process
from schemas.batch import EventBatch
from schemas.columns import ARGUMENT_COLUMNS, EVENT_COLUMNS
from schemas.text import buffers, times

FUNCTIONS: Mapping[str, Any] = MappingProxyType(
    {
        name: function
        for module in (buffers, container, event, pod, process, times)
        for name, function in vars(module).items()
        if callable(function) and getattr(function, "__module__", "") == module.__name__ and not name.startswith("_")
    }
)
"""The functions that expressions may call."""

_COLUMNS = (*EVENT_COLUMNS, *ARGUMENT_COLUMNS)
_COLUMN = re.compile(r"\bc_[a-z0-9_]+")


def prelude(body: Sequence[str]) -> list[str]:
    """Return the statements that bind the parts of a batch ``B`` and the columns that code uses.

    Args:
        body: the lines that use them.
    """
    used = set(_COLUMN.findall("\n".join(body)))
    return [
        "    S = B.strings; P = B.processes; C = B.containers",
        *(f"    c_{column} = B.columns[{column!r}]" for column in _COLUMNS if f"c_{column}" in used),
    ]


def execute(source: str, constants: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Execute generated code and return its global names.

    Args:
        source: the definitions, generated from checked conditions or outputs.
        constants: further names that they refer to.
        file: the file name for tracebacks.
    """
    names: dict[str, Any] = {**FUNCTIONS, **constants}
    exec(compile(source, file, "exec"), names)  # noqa: S102  generated from checked trees
    return names


def event_names(batch: EventBatch, i: int, name: int | None = None) -> dict[str, Any]:
    """Return all names bound to one event, to evaluate single expressions.

    Args:
        batch: a validated batch.
        i: the event's index in it.
        name: the string index of the file name; None for fd.name.
    """
    columns = batch.columns
    return {
        **FUNCTIONS,
        **{f"c_{column}": columns[column] for column in _COLUMNS},
        "B": batch,
        "S": batch.strings,
        "P": batch.processes,
        "C": batch.containers,
        "i": i,
        "n": columns["fd_name"][i] if name is None else name,
        "p": columns["process"][i],
        "q": batch.processes[columns["process"][i]],
    }
