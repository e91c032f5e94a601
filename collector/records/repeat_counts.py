"""Reads the kernel side's counts of system calls that repeat faster than they are sent.

A slot has one record and a count that only grows until another record takes the slot; the old count is then sent as a
record of its own. So a count may be read at any time, and the part reported before is identified by the slot and the
generation of its content.
"""

import mmap
import struct
import time
from collections.abc import Callable, Iterator

from collector.records.types import RepeatCount

REPEAT_SLOTS = 256
"""Slots per CPU, which is how many different records can be counted at a time. A power of two."""

REPEAT_BYTES = 1024
"""Longer records are always sent. A power of two."""

_HEADER = struct.Struct("<4Q4I")
_WORDS = _HEADER.size // 8
_CONTENT_WORD = 4
"""Generation and size: differs from one content of a slot to the next, although their counts may be equal."""
_GENERATION_AT, _SIZE_AT = 32, 36
_GENERATIONS = (1 << 32) - 1
"""Generations wrap around to 0 after this."""


class RepeatSlots:
    """The kernel side's slots, read through a memory map."""

    def __init__(self, descriptor: int, slots: int, read_record: Callable[[int], bytes]) -> None:
        """Map the headers of all slots.

        Args:
            descriptor: the BPF map of the headers; it must stay open.
            slots: number of slots.
            read_record: returns bytes that begin with a slot's record.
        """
        page = mmap.PAGESIZE
        self._map = mmap.mmap(descriptor, -(-slots * _HEADER.size // page) * page, mmap.MAP_SHARED, mmap.PROT_READ)
        self._words = memoryview(self._map)[: slots * _HEADER.size].cast("Q")
        self._read_record = read_record
        self._seen = self._look()

    def changed(self) -> Iterator[RepeatCount]:
        """Yield the content of each slot whose count or content has changed since the last call."""
        seen = self._look()
        if seen == self._seen:
            return
        for slot, (now, before) in enumerate(zip(zip(*seen, strict=True), zip(*self._seen, strict=True), strict=True)):
            if now[0] and now != before:
                repeats = self._read(slot)
                if repeats is not None:
                    yield repeats
        self._seen = seen

    def close(self) -> None:
        """Unmap the headers."""
        self._words.release()
        self._map.close()

    def _look(self) -> tuple[list[int], list[int]]:
        """Return the counts, and what identifies the contents."""
        return self._words[::_WORDS].tolist(), self._words[_CONTENT_WORD::_WORDS].tolist()

    def _read(self, slot: int) -> RepeatCount | None:
        """Return a slot's content; None while the slot changes hands, as the kernel side then sends the old count."""
        at = slot * _HEADER.size
        count, last, _, _, generation, size, _, _ = _HEADER.unpack_from(self._map, at)
        record = self._read_record(slot)[:size]
        still = int.from_bytes(self._map[at + _GENERATION_AT : at + _SIZE_AT], "little")
        if generation & 1 or still != generation:
            return None
        return RepeatCount(slot, generation, count, last, record, is_final=False)


class RepeatCounts:
    """How much of each slot's count has been reported."""

    def __init__(self) -> None:
        self._taken: dict[tuple[int, int], int] = {}
        self._ended: dict[int, int] = {}
        """By slot, the newest generation whose final count was reported."""

    def fresh(self, repeats: RepeatCount) -> int:
        """Return how many of the repeats are new, and mark them as reported."""
        slot, generation = repeats.slot, repeats.generation
        before = self._taken.pop((slot, generation), 0)
        if repeats.is_final:
            self._ended[slot] = generation
        elif (self._ended.get(slot, generation - 1) - generation) & _GENERATIONS < _GENERATIONS // 2:
            # Read before the slot changed hands, but processed after its final count.
            return 0
        else:
            self._taken[slot, generation] = max(before, repeats.count)
        return max(0, repeats.count - before)


class RepeatPoll:
    """Reads counts at intervals, in seconds, and releases them once all records sent before have been read."""

    def __init__(self, seconds: float) -> None:
        self._interval = int(seconds * 1e9)
        self._counts: list[RepeatCount] = []
        self._read_at = -self._interval
        """When the counts were read, boot-clock nanoseconds. At first so long ago that a read is due at any uptime."""

    @property
    def has_counts(self) -> bool:
        """True if counts were read that have not been taken."""
        return bool(self._counts)

    def is_ready(self, read_until: int) -> bool:
        """Return whether the counts may be taken, given the time up to which records have been read, ns."""
        return read_until >= self._read_at

    def take(self) -> list[RepeatCount]:
        """Return the counts read last, once."""
        counts, self._counts = self._counts, []
        return counts

    def read(self, changed: Callable[[], list[RepeatCount]]) -> None:
        """Read the counts again if it is time. changed: returns those that have changed."""
        if time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self._read_at >= self._interval:
            self._counts = changed()
            self._read_at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
