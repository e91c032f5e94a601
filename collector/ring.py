"""Reads a BPF ring buffer by its memory map, many records at a time.

No wake-ups: the kernel side never notifies, so that the traced programs don't pay for it; we come and look.
Layout: Documentation/bpf/ringbuf.rst.
"""

import mmap

_PAGE = 4096
_BUSY = 1 << 31
_DISCARDED = 1 << 30
_LENGTH = _DISCARDED - 1


class Ring:
    """The consumer's side of one ring; there must be only one."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Map the ring; size is that of its data in bytes."""
        self._size = size
        self._consumer_map = mmap.mmap(descriptor, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        # The data is mapped twice in a row, so that a record that wraps reads as one piece.
        self._producer_map = mmap.mmap(descriptor, _PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)
        self._consumer = memoryview(self._consumer_map)[:8].cast("Q")
        self._view = memoryview(self._producer_map)
        self._producer = self._view[:8].cast("Q")
        self._data = self._view[_PAGE:]

    def read(self) -> list[bytes]:
        """Take every complete record, in the order in which they were reserved."""
        position = self._consumer[0]
        start = position & (self._size - 1)
        piece = bytes(self._data[start : start + self._producer[0] - position])
        records = []
        at = 0
        while at < len(piece):
            header = int.from_bytes(piece[at : at + 4], "little")
            if header & _BUSY:
                break
            length = header & _LENGTH
            if not header & _DISCARDED:
                records.append(piece[at + 8 : at + 8 + length])
            at += (length + 15) & ~7
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
