"""The processes of a batch on the wire: a column for each fact, and a word of bits that says which facts are known.

A row of a record took Avro half of the time that a whole batch does now.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import reduce
from itertools import chain, islice
from operator import and_, attrgetter
from typing import Any

from schemas.batch import Process
from schemas.encoding.batch_limits import MAX_PROCESS_CHARACTERS, check_clocks, check_joined
from schemas.encoding.columns.indices import check_below
from schemas.encoding.columns.texts import MAX_TEXT_BYTES, TextTable

MAX_PROCESSES = 100_000

NULLABLE = {
    **dict.fromkeys(("ppid", "vpid", "pgid", "vpgid", "sid", "tty", "loginuid", "uid", "gid"), "q"),
    **dict.fromkeys(("cap_effective", "cap_permitted", "cap_inheritable", "exe_ino"), "Q"),
    **dict.fromkeys(("exe_ino_ctime", "exe_ino_mtime", "start_time", "exec_time", "pidns_init_start_time"), "q"),
    **dict.fromkeys(("is_exe_writable", "is_exe_upper_layer", "is_exe_lower_layer", "is_exe_from_memfd"), "B"),
}
"""Columns of numbers that may be unknown, by their struct format character; a bit of `known` each, in this order."""
TIMES = ("start_time", "exec_time", "pidns_init_start_time")
"""Those of the nullable that a clock of the host showed; what an inode says of its times is its owner's word."""
SURE = {"pid": "q", "exec_generation": "q", "container": "i", "parent": "i", "session_leader": "i", "group_leader": "i"}
"""Columns of numbers that are always known."""
MARKS = {"is_args_truncated": "B", "is_env_truncated": "B"}
"""Columns of flags that are always known."""
TEXTS = ("name", "exe", "exepath", "cwd", "user", "group", "login_name", "home", "shell", "cgroup")
"""Columns of indices (i32) of texts."""
LISTS = {"args": "arg_count", "env": "env_count"}
"""Columns of indices of many texts a process, and how many (u32) are whose; the next bits of `known`."""
PROCESS_COLUMNS = {
    **NULLABLE,
    **SURE,
    **MARKS,
    **dict.fromkeys((*TEXTS, *LISTS), "i"),
    **dict.fromkeys((*LISTS.values(), "known"), "I"),
}
"""All of them, by their struct format character (little-endian)."""
INDEX_COLUMNS = (*TEXTS, *LISTS)
"""Those that point into the batch's texts."""

KNOWN_BITS = {name: 1 << place for place, name in enumerate((*NULLABLE, *LISTS))}
_EVERYTHING = (1 << len(KNOWN_BITS)) - 1
_ORDER = tuple(each.name for each in fields(Process))
_FACTS = attrgetter(*_ORDER)
_NUMBERS = tuple(name for name in PROCESS_COLUMNS if name not in LISTS)
_FLAGS = (*(name for name, code in NULLABLE.items() if code == "B"), *MARKS)
_SIZES = {"q": 8, "Q": 8, "i": 4, "I": 4, "B": 1}


def pack_processes(processes: Sequence[Process], texts: TextTable) -> dict[str, bytes]:
    """Give the columns of a table of processes; an empty one is all 0. New texts are added to the table."""
    if not processes:
        return dict.fromkeys(PROCESS_COLUMNS, b"")
    facts = dict(zip(_ORDER, zip(*map(_FACTS, processes), strict=True), strict=True))
    known = [_EVERYTHING] * len(processes)
    made: dict[str, bytes] = {}
    for name, bit in KNOWN_BITS.items():
        if None in facts[name]:
            known = [each if value is not None else each & ~bit for each, value in zip(known, facts[name], strict=True)]
            facts[name] = tuple(value or (0 if name in NULLABLE else ()) for value in facts[name])
    for name, code in (*NULLABLE.items(), *SURE.items(), *MARKS.items()):
        made[name] = _packed(code, facts[name])
    index = texts.__getitem__
    for name in TEXTS:
        made[name] = _packed("i", map(index, facts[name]))
    for name, counts in LISTS.items():
        made[counts] = _packed("I", map(len, facts[name]))
        made[name] = array("i", map(index, chain.from_iterable(facts[name]))).tobytes()
    made["pid"] = array("q", facts["pid"]).tobytes()
    made["known"] = _packed("I", known)
    return made


def unpack_processes(
    columns: Mapping[str, bytes], texts: Sequence[str | None], containers: int, longest: int = MAX_TEXT_BYTES
) -> list[Process]:
    """Give the rows of a table of processes.

    Args:
        columns: by name, as pack_processes gives them.
        texts: by index.
        containers: how many the batch has.
        longest: a bound for the longest of the texts, bytes.

    Raises:
        ValueError: the columns contradict each other, or point outside their tables.
    """
    count = len(columns["pid"]) // _SIZES["q"]
    if count > MAX_PROCESSES:
        raise ValueError(f"{count} processes in one batch")
    zeros = [0] * count
    numbers = {name: _unpacked(columns, name, zeros) for name in _NUMBERS}
    for name, counts in LISTS.items():
        if len(columns[name]) != _SIZES["i"] * sum(numbers[counts]):
            raise ValueError(f"column p_{name} has {len(columns[name])} bytes for {sum(numbers[counts])} texts")
    check_below(len(texts), columns, INDEX_COLUMNS, "p_")
    _check_rows(numbers, containers)
    check_clocks(columns, TIMES)
    facts: dict[str, Iterable[Any]] = {**numbers}
    for name in _FLAGS:
        facts[name] = map(bool, numbers[name])
    for name in TEXTS:
        facts[name] = [texts[index] for index in numbers[name]]
    for name, counts in LISTS.items():
        values = iter([texts[index] or "" for index in memoryview(columns[name]).cast("i")])
        lists = facts[name] = [tuple(islice(values, number)) for number in numbers[counts]]
        if max(numbers[counts], default=0) * longest > MAX_PROCESS_CHARACTERS:
            for each in lists:
                check_joined(name, each, MAX_PROCESS_CHARACTERS)
    known = numbers["known"]
    if max(known, default=0) > _EVERYTHING:
        raise ValueError(f"more is known of process {known.index(max(known))} than there is")
    always = reduce(and_, known, _EVERYTHING)
    for name, bit in KNOWN_BITS.items():
        if not always & bit:
            facts[name] = [value if each & bit else None for each, value in zip(known, facts[name], strict=True)]
    return list(map(Process, *(facts[name] for name in _ORDER)))


def _check_rows(numbers: Mapping[str, Sequence[int]], containers: int) -> None:
    rows = zip(*(numbers[name] for name in ("container", "parent", "session_leader", "group_leader")), strict=True)
    for index, (container, parent, session, group) in enumerate(rows):
        if not (-1 <= parent < index and -1 <= container < containers):
            raise ValueError(f"process {index} points outside its tables")
        if not (-1 <= session <= index and -1 <= group <= index):
            raise ValueError(f"process {index} is led from outside its table")


def _packed(code: str, values: Iterable[int]) -> bytes:
    raw = array(code, values).tobytes()
    return b"" if raw == bytes(len(raw)) else raw


def _unpacked(columns: Mapping[str, bytes], name: str, zeros: list[int]) -> list[int]:
    raw, code = columns[name], PROCESS_COLUMNS[name]
    if not raw:
        return zeros
    if len(raw) != _SIZES[code] * len(zeros):
        raise ValueError(f"column p_{name} has {len(raw)} bytes, not {_SIZES[code] * len(zeros)}")
    return memoryview(raw).cast(code).tolist()  # type: ignore[call-overload, no-any-return]
