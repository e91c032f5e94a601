"""Reads a BPF ring buffer through its memory map, many records at a time.

While the collector polls often, the kernel side never sends notifications, so traced programs don't pay for them.
Layout: Documentation/bpf/ringbuf.rst.
"""

import mmap
import os
import struct
from collections.abc import Sequence

_PAGE = mmap.PAGESIZE
_HEADER = struct.Struct("<I")
_BUSY = 1 << 31
_DISCARDED = 1 << 30
_LENGTH = _DISCARDED - 1
_USE_WORDS = 5
"""Words per ring: bytes written, bytes read, size, secret, progress."""
_UNREAD_BITS = 9
"""Bits of the progress, below the epoch, for the unread part of the previous epoch in 256ths."""
_AT_ONCE = 256 << 10


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
        unpack = _HEADER.unpack_from
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
