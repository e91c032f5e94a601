"""Reads a BPF ring buffer by its memory map, many records at a time.

No wake-ups: the kernel side never notifies, so that the traced programs don't pay for it; we come and look.
Layout: Documentation/bpf/ringbuf.rst.
"""

import mmap

_PAGE = 4096
_BUSY = 1 << 31
_DISCARDED = 1 << 30
_LENGTH = _DISCARDED - 1
_AT_ONCE = 1 << 20


class Ring:
    """The consumer's side of one ring; there must be only one."""

    def __init__(self, descriptor: int, size: int, *, at_once: int = _AT_ONCE) -> None:
        """Map the ring.

        The kernel offers the data twice in a row, so that a record that wraps reads as one piece. It is mapped once:
        each mapped page counts as this process's memory.

        Args:
            descriptor: the map's.
            size: of its data in bytes.
            at_once: bytes that one read takes at most; must be more than the longest record.
        """
        self._size = size
        self._at_once = at_once
        self.has_more = False
        """Whether the last read left complete records."""
        self._consumer_map = mmap.mmap(descriptor, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._producer_map = mmap.mmap(descriptor, _PAGE + size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)
        self._consumer = memoryview(self._consumer_map)[:8].cast("Q")
        self._view = memoryview(self._producer_map)
        self._producer = self._view[:8].cast("Q")
        self._data = self._view[_PAGE:]

    def read(self) -> list[bytes]:
        """Take complete records in the order in which they were reserved: all, or as many as are taken at once."""
        position = self._consumer[0]
        start = position & (self._size - 1)
        waiting = self._producer[0] - position
        length = min(waiting, self._at_once)
        self.has_more = waiting > length
        piece = bytes(self._data[start : start + length])
        if len(piece) < length:
            piece += self._data[: length - len(piece)]
        records = []
        at = 0
        while at < length:
            header = int.from_bytes(piece[at : at + 4], "little")
            end = at + 8 + (header & _LENGTH)
            if header & _BUSY or end > length:
                break
            if not header & _DISCARDED:
                records.append(piece[at + 8 : end])
            at = (end + 7) & ~7
        self._consumer[0] = position + at
        return records

    def fill(self) -> float:
        """Tell how full the ring is, 0 to 1."""
        return (self._producer[0] - self._consumer[0]) / self._size

    def close(self) -> None:
        """Unmap."""
        for view in (self._consumer, self._producer, self._data, self._view):
            view.release()
        self._consumer_map.close()
        self._producer_map.close()
