"""The processes of a batch on the wire: a column for each attribute, and a bit mask of the attributes that are known.

Columns replaced an array of Avro records, which took half as long to decode as a whole batch takes now.
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
"""Columns of numbers that may be unknown, and their struct format characters; each has a bit of `known`, in this
order."""
TIMES = ("start_time", "exec_time", "pidns_init_start_time")
"""The nullable columns that hold readings of the host's clock. Inode times are not among them: a file's owner can set
them to anything."""
SURE = {"pid": "q", "exec_generation": "q", "container": "i", "parent": "i", "session_leader": "i", "group_leader": "i"}
"""Columns of numbers that are always known."""
MARKS = {"is_args_truncated": "B", "is_env_truncated": "B"}
"""Columns of flags that are always known."""
TEXTS = ("name", "exe", "exepath", "codepath", "cwd", "user", "group", "login_name", "home", "shell", "cgroup")
"""Columns of indices (i32) of texts."""
LISTS = {"args": "arg_count", "env": "env_count"}
"""Columns of indices of several texts per process, and the columns of their counts (u32); they have the next bits of
`known`."""
PROCESS_COLUMNS = {
    **NULLABLE,
    **SURE,
    **MARKS,
    **dict.fromkeys((*TEXTS, *LISTS), "i"),
    **dict.fromkeys((*LISTS.values(), "known"), "I"),
}
"""Every column and its struct format character (little-endian)."""
INDEX_COLUMNS = (*TEXTS, *LISTS)
"""The columns of indices into the batch's texts."""

KNOWN_BITS = {name: 1 << bit for bit, name in enumerate((*NULLABLE, *LISTS))}
_EVERYTHING = (1 << len(KNOWN_BITS)) - 1
_ORDER = tuple(each.name for each in fields(Process))
_FACTS = attrgetter(*_ORDER)
_NUMBERS = tuple(name for name in PROCESS_COLUMNS if name not in LISTS)
_FLAGS = (*(name for name, code in NULLABLE.items() if code == "B"), *MARKS)
_SIZES = {"q": 8, "Q": 8, "i": 4, "I": 4, "B": 1}


def pack_processes(processes: Sequence[Process], texts: TextTable) -> dict[str, bytes]:
    """Return the columns of a table of processes; an empty column is all 0. Adds new texts to the table of texts."""
    if not processes:
        return dict.fromkeys(PROCESS_COLUMNS, b"")
    facts: dict[str, Sequence[Any]] = dict(zip(_ORDER, zip(*map(_FACTS, processes), strict=True), strict=True))
    known = [_EVERYTHING] * len(processes)
    made: dict[str, bytes] = {}
    for name, bit in KNOWN_BITS.items():
        if None in facts[name]:
            missing = 0 if name in NULLABLE else ()
            values = facts[name] = list(facts[name])
            for row, value in enumerate(values):
                if value is None:
                    values[row] = missing
                    known[row] ^= bit
    for name, code in (*NULLABLE.items(), *SURE.items(), *MARKS.items()):
        made[name] = _packed(code, facts[name])
    index = texts.__getitem__
    for name in TEXTS:
        found = facts[name]
        is_same = found.count(found[0]) == len(found)
        made[name] = _packed("i", [index(found[0])] * len(found) if is_same else list(map(index, found)))
    for name, counts in LISTS.items():
        made[counts] = _packed("I", list(map(len, facts[name])))
        made[name] = array("i", map(index, chain.from_iterable(facts[name]))).tobytes()
    made["pid"] = array("q", facts["pid"]).tobytes()
    made["known"] = _packed("I", known)
    return made


def unpack_processes(
    columns: Mapping[str, bytes], texts: Sequence[str | None], containers: int, longest: int = MAX_TEXT_BYTES
) -> list[Process]:
    """Return the rows of a table of processes.

    Args:
        columns: columns by name, as returned by pack_processes.
        texts: the texts by index.
        containers: number of containers in the batch.
        longest: an upper bound for the length of a text, bytes.

    Raises:
        ValueError: the columns contradict each other, or refer outside their tables.
    """
    if not any(map(columns.__getitem__, PROCESS_COLUMNS)):
        # A heartbeat: most batches of an idle fleet.
        return []
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
        raise ValueError(f"process {known.index(max(known))} has unknown bits in its mask of known attributes")
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
            raise ValueError(f"process {index} has a leader outside its table")


def _packed(code: str, values: Sequence[int]) -> bytes:
    return array(code, values).tobytes() if any(values) else b""


def _unpacked(columns: Mapping[str, bytes], name: str, zeros: list[int]) -> list[int]:
    raw, code = columns[name], PROCESS_COLUMNS[name]
    if not raw:
        return zeros
    if len(raw) != _SIZES[code] * len(zeros):
        raise ValueError(f"column p_{name} has {len(raw)} bytes, not {_SIZES[code] * len(zeros)}")
    return memoryview(raw).cast(code).tolist()  # type: ignore[call-overload, no-any-return]
