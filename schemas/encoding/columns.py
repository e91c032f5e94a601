"""The processes of a batch on the wire: a column for each attribute, and a bit mask of the attributes that are known.

Columns replaced an array of Avro records, which took half as long to decode as a whole batch takes now.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache, reduce
from itertools import chain, islice, repeat
from operator import and_, attrgetter
from typing import Any

from schemas.batch import ARGUMENT_COLUMNS, EVENT_COLUMNS, STRING_COLUMNS, Column, NetworkServer, Process, ProgramFile
from schemas.encoding.limits import MAX_PROCESS_CHARACTERS, MAX_TEXT_BYTES, TextTable, check_clocks, check_joined

_LIMIT_BITS = 20
MAX_LIMIT = 1 << _LIMIT_BITS
_BLOCK_BITS = 15
"""1,024 numbers of 32 bits."""
_CACHED_BLOCKS = 48
"""Masks for up to this many blocks are cached, 10 MB in total; a collector's batch has about 17 blocks. For a larger
batch, which a compromised host may send, the masks are computed each time."""


def check_below(limit: int, columns: Mapping[str, bytes], names: Sequence[str], prefix: str = "") -> None:
    """Check that columns of i32 contain only numbers from 0 to limit - 1.

    All columns are checked at once, as one huge integer: for 13,000 indices this takes a third of the time of max.

    Args:
        limit: the first number that is too large, at most MAX_LIMIT.
        columns: columns by name, little-endian.
        names: the columns to check.
        prefix: put before a column's name in the error message.

    Raises:
        ValueError: a column contains another number; the message names the column.
    """
    joined = int.from_bytes(b"".join([columns[name] for name in names]), "little")
    high, ones = _lanes((joined.bit_length() >> _BLOCK_BITS) + 1)
    # Add MAX_LIMIT - limit to each number: one at or above the limit then has a high bit. A carry into the neighbor
    # is possible only from a number that had a high bit before.
    if (joined | joined + ones * (MAX_LIMIT - limit)) & high:
        wrong = next(name for name in names if max(memoryview(columns[name]).cast("I"), default=0) >= limit)
        raise ValueError(f"column {prefix}{wrong} points outside its table")


def check_steps(raw: bytes, most: int) -> None:
    """Check that a column of u32 starts with 0 and never decreases, and that each step is less than most.

    The whole column is checked at once, as one huge integer, which takes a third of the time of a loop.

    Args:
        raw: the column, little-endian, of at least one number.
        most: the first step that is too large; a power of two.

    Raises:
        ValueError: a step is negative or too large.
    """
    if any(raw[:4]):
        raise ValueError("does not begin with 0")
    size = len(raw) - 4
    before, after = int.from_bytes(raw[:size], "little"), int.from_bytes(raw[4:], "little")
    top = int.from_bytes((b"\0\0\0\x80") * (size // 4), "little")
    if (before | after) & top:
        raise ValueError("has a number that is too large")
    # The top bit of each number keeps a negative step from borrowing from its neighbor, and is clear after one.
    steps = ((after | top) - before) ^ top
    too_large = (1 << 32) - most
    if steps & int.from_bytes(too_large.to_bytes(4, "little") * (size // 4), "little"):
        raise ValueError("decreases, or has too large a step")


def _lanes(blocks: int) -> tuple[int, int]:
    """Return the high bits, and bit 0, of every number of so many blocks."""
    return _cached_lanes(blocks) if blocks <= _CACHED_BLOCKS else _compute_lanes(blocks)


def _compute_lanes(blocks: int) -> tuple[int, int]:
    count = blocks << _BLOCK_BITS - 5
    high = (1 << 32) - MAX_LIMIT
    return int.from_bytes(high.to_bytes(4, "little") * count, "little"), int.from_bytes(b"\1\0\0\0" * count, "little")


_cached_lanes = lru_cache(maxsize=_CACHED_BLOCKS)(_compute_lanes)


MAX_EVENTS = 100_000
MAX_ARGUMENTS = 64
"""Limit of the arguments of an event; no event in Falco's table has more than 32."""

COLUMNS = {**EVENT_COLUMNS, **ARGUMENT_COLUMNS}
"""Every column and its struct format character (little-endian)."""
INDEX_COLUMNS = (*STRING_COLUMNS, "arg_name", "arg_value")
"""The columns of indices into the batch's texts."""
_SIZES = {"q": 8, "Q": 8, "i": 4, "I": 4, "h": 2, "B": 1}


def pack_column(column: Column) -> bytes:
    """Return the bytes of a column; empty if every element is 0."""
    raw = memoryview(column).tobytes()  # type: ignore[arg-type]
    return b"" if raw == bytes(len(raw)) else raw


def unpack_columns(raw: Mapping[str, bytes], count: int, texts: int, processes: int) -> dict[str, Column]:
    """Return the columns of a batch as views of the received bytes; nothing is copied, since rules read few columns.

    Args:
        raw: the columns' bytes by name; an empty one is all 0.
        count: number of events.
        texts: length of the table of texts.
        processes: length of the table of processes.

    Raises:
        ValueError: a column has the wrong length or an index outside its table, or arg_start decreases.
    """
    if not 0 <= count <= MAX_EVENTS:
        raise ValueError(f"{count} events in one batch")
    if not count and not any(map(raw.__getitem__, COLUMNS)):
        # A heartbeat: most batches of an idle fleet.
        return {**_NONE}
    columns = {name: _column(raw, name, count) for name in EVENT_COLUMNS}
    starts = columns["arg_start"] = _column(raw, "arg_start", count + 1)
    if raw["arg_start"]:
        try:
            check_steps(raw["arg_start"], MAX_ARGUMENTS)
        except ValueError as error:
            raise ValueError(f"arg_start {error}") from None
    for name in ("arg_name", "arg_value", "arg_raw"):
        columns[name] = _column(raw, name, starts[count])
    check_below(texts, raw, INDEX_COLUMNS)
    # Read as unsigned, a negative index is a huge one: one comparison finds both.
    if count and max(memoryview(raw["process"]).cast("I"), default=0) >= processes:
        raise ValueError("column process points outside its table")
    return columns


def _column(raw: Mapping[str, bytes], name: str, count: int) -> Column:
    size = _SIZES[COLUMNS[name]] * count
    data = raw[name] or bytes(size)
    if len(data) != size:
        raise ValueError(f"column {name} has {len(data)} bytes, not {size}")
    return memoryview(data).cast(COLUMNS[name])  # type: ignore[call-overload, no-any-return]


_NONE = {name: _column(dict.fromkeys(COLUMNS, b""), name, 0) for name in COLUMNS} | {
    "arg_start": _column({"arg_start": b""}, "arg_start", 1)
}
"""The columns of a batch without events."""


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
"""The nullable columns of readings of the host's clock. Inode times are not among them: a file's owner can set
them to anything."""
SURE = {"pid": "q", "exec_generation": "q", "container": "i", "parent": "i", "session_leader": "i", "group_leader": "i"}
"""Columns of numbers that are always known."""
MARKS = {"is_args_truncated": "B", "is_env_truncated": "B"}
"""Columns of flags that are always known."""
TEXTS = ("name", "exe", "exepath", "codepath", "cwd", "user", "group", "login_name", "home", "shell", "cgroup")
"""Columns of indices (i32) of texts."""
FILES = ("file", "script")
"""Columns of numbers of files."""
SERVER = "server"
"""The column of numbers of servers."""
LISTS = {"args": "arg_count", "env": "env_count"}
"""Columns of indices of several texts per process, and the columns of their counts (u32); they have the next bits of
`known`."""
PROCESS_COLUMNS = {
    **NULLABLE,
    **SURE,
    **MARKS,
    **dict.fromkeys((*TEXTS, *LISTS), "i"),
    **dict.fromkeys((*LISTS.values(), "known"), "I"),
    **dict.fromkeys((*FILES, SERVER), "i"),
}
"""Every column and its struct format character (little-endian)."""
PROCESS_INDEX_COLUMNS = (*TEXTS, *LISTS)
"""The columns of indices into the batch's texts."""

KNOWN_BITS = {name: 1 << bit for bit, name in enumerate((*NULLABLE, *LISTS))}
_EVERYTHING = (1 << len(KNOWN_BITS)) - 1
_ORDER = tuple(each.name for each in fields(Process))
_FACTS = attrgetter(*_ORDER)
_NUMBERS = tuple(name for name in PROCESS_COLUMNS if name not in LISTS)
_FLAGS = (*(name for name, code in NULLABLE.items() if code == "B"), *MARKS)


def numbered_files(processes: Iterable[Process]) -> tuple[list[ProgramFile | None], dict[int, int]]:
    """Return the files of programs and scripts by number, the first None, and the numbers as pack_processes needs them.

    Most processes have the same few objects, and a hash of one takes longer than all else that is done with it.
    """
    found = {id(file): file for each in processes for file in (each.file, each.script)}
    numbers: dict[ProgramFile | None, int] = {None: 0}
    by_id = {each: numbers.setdefault(file, len(numbers)) for each, file in found.items()}
    return list(numbers), by_id


def pack_processes(
    processes: Sequence[Process],
    texts: TextTable,
    files: Mapping[int, int],
    servers: Mapping[NetworkServer | None, int],
) -> dict[str, bytes]:
    """Return the columns of a table of processes; an empty column is all 0. Adds new texts to the table of texts.

    files: numbers of the files of programs by the identity of the object, as numbered_files returns them.
    servers: numbers of servers from 1 on, and 0 for None.
    """
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
    for name in FILES:
        made[name] = _packed("i", list(map(files.__getitem__, map(id, facts[name])))) if any(files.values()) else b""
    made[SERVER] = _packed("i", list(map(servers.__getitem__, facts[SERVER]))) if len(servers) > 1 else b""
    return made


def unpack_processes(
    columns: Mapping[str, bytes],
    texts: Sequence[str | None],
    containers: int,
    files: Sequence[ProgramFile | None] = (None,),
    servers: Sequence[NetworkServer | None] = (None,),
    *,
    longest: int = MAX_TEXT_BYTES,
) -> list[Process]:
    """Return the rows of a table of processes.

    Args:
        columns: columns by name, as returned by pack_processes.
        texts: the texts by index.
        containers: number of containers in the batch.
        files: the files of programs by number; the first is None.
        servers: servers by number; the first is None.
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
    check_below(len(texts), columns, PROCESS_INDEX_COLUMNS, "p_")
    check_below(len(files), columns, FILES, "p_")
    check_below(len(servers), columns, (SERVER,), "p_")
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
    for name in FILES:
        facts[name] = map(files.__getitem__, numbers[name]) if columns[name] else repeat(None, count)
    facts[SERVER] = map(servers.__getitem__, numbers[SERVER]) if columns[SERVER] else repeat(None, count)
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
