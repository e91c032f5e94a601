"""Lay out a pushdown filter for the kernel's tables, and write it into the kernel's maps.

Clauses become bits, predicates masks of clauses. The layout is pure: its results are numbers and bytes. FilterMaps
writes them beside the active filter, then switches by a single number.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_

from collector.events.system_calls import BY_EVENT
from collector.kernel import bpf_syscall
from schemas.filter import (
    CLASSES,
    FAILED,
    MAX_PREFIX,
    MAX_SUFFIX,
    MAX_VALUES,
    BadFilter,
    Clause,
    PathPattern,
    Predicate,
    PushdownFilter,
    always,
    decode_filter,
    is_version,
    union,
)

MASK_BITS = 512
"""Bits of a mask, one per clause; beyond that, clauses share bits."""

MAX_ROWS = 128
"""Event types that can be filtered by more than their class; others pass."""

MAX_TESTS = 8
"""Predicates of one event type beside those of its class; of more, the rarest are left out."""

DROP, PASS, JUDGE = 0, 1, 2

_SUBJECTS = {
    "result": 1,
    "uid": 3,
    "family": 4,
    "local_port": 5,
    "remote_port": 6,
    "local_ip": 7,
    "remote_ip": 8,
    "protocol": 9,
    "new_setuid": 10,
    "arg.created": 11,
    "answer": 12,
    "hello": 13,
}
_OF_CONTENTS = frozenset({_SUBJECTS["answer"], _SUBJECTS["hello"]})
"""What is received from a name server, and what TLS clients send."""
_REGISTER = 2
_REGISTER_KINDS = frozenset({"enum", "flags", "i", "mode", "n", "pid", "x", "mountflags"})
"""Kinds of argument that equal the register's lower half, in the bits that predicates compare (arguments)."""

_FLAGS_UNKNOWN = frozenset({"openat2", "open_by_handle_at"})
"""Their flags are in memory that another thread may change, or aren't read: classes differ only by failure."""

_Condition = tuple[frozenset[tuple[Predicate, bool]], frozenset[PathPattern] | None]

EVERYTHING = "*"
"""As a version: nothing is filtered."""
MAX_VERSIONS = 8
"""Live versions at a time; with more, everything is sent."""
MAX_TEXTS = 4096
"""Prefixes, or suffixes, of one filter: half of the map's capacity, which contains two."""
MAX_EVENTS = 256
"""Event types by number, of one filter."""
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_SETTING_FILTER = 0
_BY_BEGINNING, _BY_ENDING = 4, 8
"""Added to the verdict of a class whose clauses need the beginning, or the ending, of the path."""
_MASK_BYTES = MASK_BITS // 8
_ROW = struct.Struct(f"<{CLASSES}B4B")
_TEST = struct.Struct(f"<2B2xI{MAX_VALUES}I")


@dataclass(frozen=True, slots=True)
class KernelTest:
    """One predicate as the kernel side evaluates it, with the clauses left by each result."""

    subject: int
    register: int
    mask: int
    values: tuple[int, ...]
    if_yes: int
    if_no: int


@dataclass(frozen=True, slots=True)
class EventTypeRow:
    """The filter of one event type."""

    verdicts: tuple[int, ...]
    """The action of each class: drop, pass, or evaluate the rest."""
    classes: tuple[int, ...]
    """By class, the clauses left."""
    tests: tuple[KernelTest, ...]
    has_patterns: bool

    @property
    def needs_contents(self) -> bool:
        """True if only calls matter that receive or send certain data, which is tested before anything else."""
        return any(test.subject in _OF_CONTENTS and not test.if_no for test in self.tests)


@dataclass(frozen=True, slots=True)
class FilterLayout:
    """The layout of one filter. A mask is an int whose bit n is the n-th clause."""

    rows: Mapping[str, EventTypeRow]
    anywhere: int
    """Clauses that don't depend on the path."""
    prefixes: Mapping[bytes, int]
    """Clauses that need a path with this prefix, including those of every shorter prefix."""
    suffixes: Mapping[bytes, int]


def lay_out(pushdown_filter: PushdownFilter) -> FilterLayout:
    """Assign bits to clauses and arrange them as the kernel side looks them up."""
    by_event: dict[str, list[Clause]] = {}
    for clause in sorted(pushdown_filter.clauses, key=_order):
        by_event.setdefault(clause.event, []).append(clause)
    numbers: dict[_Condition, int] = {}
    anywhere = 0
    patterns: dict[PathPattern, int] = {}
    rows = {}
    for event, clauses in by_event.items():
        if event not in BY_EVENT:
            continue
        evaluated = _evaluated_tests(event, clauses)
        bits = []
        for clause in clauses:
            condition = (
                frozenset(each for each in clause.tests if each[0] in evaluated),
                clause.patterns if BY_EVENT[event].filter else None,
            )
            bit = 1 << (numbers.setdefault(condition, len(numbers)) % MASK_BITS)
            bits.append((bit, clause, condition))
            if condition[1] is None:
                anywhere |= bit
            for pattern in condition[1] or ():
                patterns[pattern] = patterns.get(pattern, 0) | bit
        rows[event] = _row(event, bits, evaluated)
    return FilterLayout(
        rows=rows,
        anywhere=anywhere,
        prefixes=_accumulated(
            {pattern.text: mask for pattern, mask in patterns.items() if pattern.is_prefix}, _beginnings
        ),
        suffixes=_accumulated(
            {pattern.text: mask for pattern, mask in patterns.items() if not pattern.is_prefix}, _endings
        ),
    )


def _order(clause: Clause) -> tuple[str, list[tuple[Predicate, bool]], list[PathPattern]]:
    return clause.event, sorted(clause.tests), sorted(clause.patterns or ())


def _accumulated(masks: dict[bytes, int], parts: Callable[[bytes], Iterable[bytes]]) -> dict[bytes, int]:
    """Add to each text the masks of its parts, as a longest-match table returns only one entry."""
    return {text: joined(masks.get(part, 0) for part in parts(text)) for text in masks}


def _beginnings(text: bytes) -> Iterable[bytes]:
    return (text[:length] for length in range(len(text) + 1))


def _endings(text: bytes) -> Iterable[bytes]:
    return (text[start:] for start in range(len(text) + 1))


def joined(masks: Iterable[int]) -> int:
    """Return the clauses of any of the masks."""
    return reduce(or_, masks, 0)


def _evaluated_tests(event: str, clauses: list[Clause]) -> dict[Predicate, tuple[int, int]]:
    """Choose the predicates to evaluate beside the class: by subject and register, those used by most clauses."""
    uses: dict[Predicate, int] = {}
    for clause in clauses:
        for test, _ in clause.tests:
            uses[test] = uses.get(test, 0) + 1
    found: dict[Predicate, tuple[int, int]] = {}
    for test in sorted(uses, key=lambda each: (-uses[each], each)):
        where = _subject(event, test.subject)
        if where is not None and 0 < len(test.values) <= MAX_VALUES and len(found) < MAX_TESTS:
            found[test] = where
    return found


def _subject(event: str, subject: str) -> tuple[int, int] | None:
    if subject in _SUBJECTS or not subject.startswith("arg."):
        number = _SUBJECTS.get(subject)
        return None if number is None else (number, 0)
    name = subject.removeprefix("arg.")
    for argument in BY_EVENT[event].arguments:
        if argument.name == name and argument.kind in _REGISTER_KINDS and 0 <= argument.index < 6:
            return _REGISTER, argument.index
    return None


def _row(
    event: str, bits: list[tuple[int, Clause, _Condition]], evaluated: dict[Predicate, tuple[int, int]]
) -> EventTypeRow:
    classes = [0] * CLASSES
    passing = [False] * CLASSES
    for bit, clause, (required, patterns) in bits:
        for number in range(CLASSES):
            if _allows(clause, number):
                classes[number] |= bit
                passing[number] |= not required and patterns is None
    if event in _FLAGS_UNKNOWN:
        alike = [[other for other in range(CLASSES) if (number ^ other) & FAILED == 0] for number in range(CLASSES)]
        classes = [joined(classes[other] for other in others) for others in alike]
        passing = [any(passing[other] for other in others) for others in alike]
    tests = tuple(
        KernelTest(
            *where,
            test.mask,
            test.values,
            if_yes=joined(bit for bit, _, (required, _) in bits if (test, False) not in required),
            if_no=joined(bit for bit, _, (required, _) in bits if (test, True) not in required),
        )
        for test, where in evaluated.items()
    )
    verdicts = tuple(PASS if passes else JUDGE if mask else DROP for mask, passes in zip(classes, passing, strict=True))
    return EventTypeRow(verdicts, tuple(classes), tests, any(patterns is not None for _, _, (_, patterns) in bits))


def _allows(clause: Clause, number: int) -> bool:
    """Return whether the predicates that define a class allow it."""
    known = {"failed": number // FAILED, "open": number % FAILED}
    return all(
        (known[test.subject] & test.mask in test.values) == expected
        for test, expected in clause.tests
        if test.subject in known
    )


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """The event types and filter to collect by."""

    pushdown_filter: PushdownFilter | None
    """None sends everything."""
    versions: frozenset[str] = frozenset()
    """Versions of the rules covered; empty for local rule files."""


def collection_plan(entries: Mapping[bytes, bytes], own: PushdownFilter, always_sent: Iterable[str]) -> CollectionPlan:
    """Compute what to send.

    Args:
        entries: the filter topic's entries, by key.
        own: filter of this host's rule files, used while the topic is empty.
        always_sent: event types that are always sent.
    """
    if not entries:
        return CollectionPlan(always(own, always_sent))
    if len(entries) > MAX_VERSIONS or not all(is_version(key.decode("latin-1")) for key in entries):
        return CollectionPlan(None, frozenset({EVERYTHING}))
    try:
        together = union(*(decode_filter(value) for value in entries.values()))
    except BadFilter:
        together = None
    if together is None:
        return CollectionPlan(None, frozenset({EVERYTHING}))
    return CollectionPlan(always(together, always_sent), frozenset(key.decode() for key in entries))


def common_versions(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """Return the versions in both sets; * stands for every version."""
    if EVERYTHING in some:
        return others
    return some if EVERYTHING in others else some & others


_PASSING = EventTypeRow((PASS,) * CLASSES, (0,) * CLASSES, (), has_patterns=False)


class FilterMaps:
    """The pushdown filter's maps in the kernel."""

    def __init__(self, maps: Mapping[str, int]) -> None:
        """Take the loaded program's maps. Every event is sent until a filter is set."""
        self._maps = maps
        self._generation = 0
        self._keys: dict[int, list[tuple[str, bytes]]] = {0: [], 1: []}

    def put(self, layout: FilterLayout | None) -> None:
        """Switch to a filter that is laid out. None, or a filter too large for the maps, sends every event.

        No event is lost during the switch: the active version stays complete until the number changes.
        """
        if layout is None or max(len(layout.prefixes), len(layout.suffixes)) > MAX_TEXTS:
            self._switch(0)
            return
        generation = 1 - self._generation
        # A program run that began under the old version may still read it.
        bpf_syscall.wait_for_running_programs()
        for name, key in self._keys[generation]:
            bpf_syscall.delete(self._maps[name], key)
        self._keys[generation] = []
        for name, key, value in entries(layout, generation):
            bpf_syscall.update(self._maps[name], key, value)
            if len(key) > _U32.size:
                self._keys[generation].append((name, key))
        self._generation = generation
        self._switch(2 + generation)

    def _switch(self, version: int) -> None:
        bpf_syscall.update(self._maps["settings"], _U32.pack(_SETTING_FILTER), _U64.pack(version))


def entries(layout: FilterLayout, generation: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield every entry of a filter: the map's name, key and value as laid out in lanner.bpf.c."""
    row_index = 0
    places = ((_BY_BEGINNING, joined(layout.prefixes.values())), (_BY_ENDING, joined(layout.suffixes.values())))
    for event, call in BY_EVENT.items():
        row = layout.rows.get(event, _PASSING)
        if row.verdicts != _PASSING.verdicts and row_index < MAX_ROWS:
            yield from _masks(row, generation * MAX_ROWS + row_index)
            yield "filters", _U32.pack(generation * MAX_EVENTS + call.number), _packed(row, row_index, places)
            row_index += 1
        else:
            yield "filters", _U32.pack(generation * MAX_EVENTS + call.number), _packed(_PASSING, 0, ())
    yield "anywhere_masks", _U32.pack(generation), _mask(layout.anywhere)
    for text, mask in layout.prefixes.items():
        yield "prefix_masks", _key(text, MAX_PREFIX, generation), _mask(mask)
    for text, mask in layout.suffixes.items():
        yield "suffix_masks", _key(text[::-1], MAX_SUFFIX, generation), _mask(mask)


def _masks(row: EventTypeRow, row_index: int) -> Iterator[tuple[str, bytes, bytes]]:
    for number, mask in enumerate(row.classes):
        yield "class_masks", _U32.pack(row_index * CLASSES + number), _mask(mask)
    for number, test in enumerate(row.tests):
        yield "test_masks", _U32.pack((row_index * MAX_TESTS + number) * 2), _mask(test.if_no)
        yield "test_masks", _U32.pack((row_index * MAX_TESTS + number) * 2 + 1), _mask(test.if_yes)


def _packed(row: EventTypeRow, row_index: int, places: Iterable[tuple[int, int]]) -> bytes:
    tests = b"".join(
        _TEST.pack(
            *(test.subject, test.register, test.mask),
            *(*test.values, *test.values[:1] * (MAX_VALUES - len(test.values))),
        )
        for test in row.tests
    )
    verdicts = (
        verdict | sum(flag for flag, mask in places if verdict == JUDGE and clauses & mask)
        for verdict, clauses in zip(row.verdicts, row.classes, strict=True)
    )
    return _ROW.pack(*verdicts, row_index, len(row.tests), row.has_patterns, row.needs_contents) + tests.ljust(
        MAX_TESTS * _TEST.size, b"\0"
    )


def _mask(mask: int) -> bytes:
    return mask.to_bytes(_MASK_BYTES, "little")


def _key(text: bytes, size: int, generation: int) -> bytes:
    return struct.pack("<II", 32 + 8 * len(text), generation) + text.ljust(size, b"\0")
