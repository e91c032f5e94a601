"""Reads the kernel side's maps through memory maps: rings of records, and counts of calls that repeat too fast.

While the collector polls a ring often, the kernel side never sends notifications, so traced programs don't pay for
them. Layout: Documentation/bpf/ringbuf.rst.

A slot has one record and a count that only grows until another record takes the slot; the old count is then sent as a
record of its own. So a count may be read at any time, and the part reported before is identified by the slot and the
generation of its content.
"""

import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence

from collector.records.types import RepeatCount

_PAGE = mmap.PAGESIZE
_RECORD_HEADER = struct.Struct("<I")
_BUSY = 1 << 31
_DISCARDED = 1 << 30
_LENGTH = _DISCARDED - 1
_USE_WORDS = 5
"""Words per ring: bytes written, bytes read, size, secret, progress."""
_UNREAD_BITS = 9
"""Bits of the progress, below the epoch, for the unread part of the previous epoch in 256ths."""
_AT_ONCE = 256 << 10

REPEAT_SLOTS = 256
"""Slots per CPU, which is how many different records can be counted at a time. A power of two."""
REPEAT_BYTES = 1024
"""Longer records are always sent. A power of two."""
_SLOT_HEADER = struct.Struct("<4Q4I")
_WORDS = _SLOT_HEADER.size // 8
_CONTENT_WORD = 4
"""Generation and size: differs from one content of a slot to the next, although their counts may be equal."""
_GENERATION_AT, _SIZE_AT = 32, 36
_GENERATIONS = (1 << 32) - 1
"""Generations wrap around to 0 after this."""


class Ring:
    """The consumer side of one ring. A ring must have only one consumer."""

    def __init__(self, descriptor: int, size: int, *, at_once: int = _AT_ONCE) -> None:
        """Map the ring's positions and as much of its data as one read takes.

        The kernel maps the data twice in a row, so that a record that wraps reads as one piece. Mapped pages count
        toward this process's RSS although they are the kernel's, so the mapping is a window that follows the reader.

        Args:
            descriptor: the BPF map; it must stay open.
            size: size of the data in bytes.
            at_once: maximum bytes per read; must exceed the longest record.
        """
        self._descriptor = descriptor
        self._size = size
        self._at_once = min(at_once, size)
        self.has_more = False
        """True if the last read left complete records."""
        self._consumer_map = mmap.mmap(descriptor, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._producer_map = mmap.mmap(descriptor, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)
        self._consumer = memoryview(self._consumer_map)[:8].cast("Q")
        self._producer = memoryview(self._producer_map)[:8].cast("Q")
        self._window_start = 0
        self._window = self._map_window(0)

    @property
    def position(self) -> int:
        """Bytes read since the ring was created."""
        return self._consumer[0]

    @property
    def is_empty(self) -> bool:
        """True if the ring has no record, complete or not."""
        return self._consumer[0] == self._producer[0]

    def read(self) -> list[bytes]:
        """Return complete records in the order of their reservation, up to the maximum per read."""
        position = self._consumer[0]
        waiting = self._producer[0] - position
        length = min(waiting, self._at_once)
        self.has_more = waiting > length
        if not length:
            return []
        piece = self._piece(position & (self._size - 1), length)
        records = []
        at = 0
        unpack = _RECORD_HEADER.unpack_from
        while at < length:
            (header,) = unpack(piece, at)
            end = at + 8 + (header & _LENGTH)
            if header & _BUSY or end > length:
                break
            if header < _DISCARDED:
                records.append(piece[at + 8 : end])
            at = (end + 7) & ~7
        self._consumer[0] = position + at
        return records

    def close(self) -> None:
        """Unmap the ring."""
        for view in (self._consumer, self._producer):
            view.release()
        for mapped in (self._consumer_map, self._producer_map, self._window):
            mapped.close()

    def _piece(self, start: int, length: int) -> bytes:
        at = start - self._window_start
        if at < 0 or at + length > len(self._window):
            self._window.close()
            self._window_start = start & -_PAGE
            self._window = self._map_window(self._window_start)
            at = start - self._window_start
        return self._window[at : at + length]

    def _map_window(self, start: int) -> mmap.mmap:
        # A piece may begin anywhere in its first page.
        length = self._at_once + _PAGE
        return mmap.mmap(self._descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=2 * _PAGE + start)


class RingUses:
    """How far each ring is read. The kernel side uses this to share free space among users and their processes."""

    def __init__(self, descriptor: int, sizes: Sequence[int]) -> None:
        """Map the counters that both sides share.

        Args:
            descriptor: the BPF map, which begins with the bytes written; it must stay open.
            sizes: sizes of the rings' data in bytes, in the order of the map. The last may be of something else that
                is shared in the same way, in whatever unit.
        """
        self._map = mmap.mmap(descriptor, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._words = memoryview(self._map)[: _USE_WORDS * 8 * len(sizes)].cast("Q")
        self._epochs = [(0, 0, 0)] * len(sizes)
        """The number of each ring's epoch, and where the previous one began and ended, in bytes written."""
        self._aged = 0
        for ring, size in enumerate(sizes):
            self._words[_USE_WORDS * ring + 2] = size
            # Nobody can choose to share another account's counters.
            self._words[_USE_WORDS * ring + 3] = int.from_bytes(os.urandom(8), "little")

    def read(self, ring: int, position: int) -> None:
        """Record that a ring is read up to a position, in bytes since it was created."""
        at = _USE_WORDS * ring
        self._words[at + 1] = position
        epoch, began, ended = self._epochs[ring]
        if position >= ended:
            epoch, began, ended = self._epochs[ring] = epoch + 1, ended, max(position, self._words[at])
        unread = 256 * (ended - position) // max(ended - began, 1)
        self._words[at + 4] = epoch << _UNREAD_BITS | unread

    def age(self, ring: int) -> None:
        """Count as read what was written before the last call: for what nobody reads, and is forgotten after a time."""
        written = self._words[_USE_WORDS * ring]
        self.read(ring, self._aged)
        self._aged = written

    def close(self) -> None:
        """Unmap the counters."""
        self._words.release()
        self._map.close()


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
        self._map = mmap.mmap(descriptor, -(-slots * _SLOT_HEADER.size // page) * page, mmap.MAP_SHARED, mmap.PROT_READ)
        self._words = memoryview(self._map)[: slots * _SLOT_HEADER.size].cast("Q")
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
        at = slot * _SLOT_HEADER.size
        count, last, _, _, generation, size, _, _ = _SLOT_HEADER.unpack_from(self._map, at)
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
