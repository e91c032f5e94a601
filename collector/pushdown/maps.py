"""Writes a pushdown filter into the kernel's maps beside the active one, then switches by a single number."""

import struct
from collections.abc import Iterable, Iterator, Mapping

from collector.events.system_calls import BY_EVENT
from collector.kernel import bpf_syscall
from collector.pushdown.layout import JUDGE, MASK_BITS, MAX_ROWS, MAX_TESTS, PASS, EventTypeRow, FilterLayout, joined
from schemas.filter import CLASSES, MAX_PREFIX, MAX_SUFFIX, MAX_VALUES

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
