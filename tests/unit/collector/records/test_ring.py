import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.records.ring import Ring

PAGE, SIZE = 4096, 4096
BUSY, DISCARDED = 1 << 31, 1 << 30


class Producer:
    """Writes a file as the kernel writes a ring: consumer page, producer page, and the data mapped twice in a row."""

    def __init__(self, path: Path, start: int = 0) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._descriptor, 2 * PAGE + 2 * SIZE)
        self.position = start
        self._put(0, start)
        self._put(PAGE, start)
        self.ring = Ring(self._descriptor, SIZE)

    def reserve(self, data: bytes, flags: int = BUSY) -> int:
        """Reserve space for a record and return its position; it is busy until committed."""
        position = self.position
        self._write(position, struct.pack("<II", len(data) | flags, 0) + data)
        self.position += (8 + len(data) + 7) & ~7
        self._put(PAGE, self.position)
        return position

    def commit(self, position: int, length: int, flags: int = 0) -> None:
        """Finish a record."""
        self._write(position, struct.pack("<I", length | flags))

    def write(self, *records: bytes) -> None:
        """Write whole records."""
        for data in records:
            self.reserve(data, 0)

    def consumed(self) -> int:
        """Return the consumer's position, which frees space."""
        return int.from_bytes(os.pread(self._descriptor, 8, 0), "little")

    def close(self) -> None:
        """Unmap and close everything."""
        self.ring.close()
        os.close(self._descriptor)

    def _write(self, position: int, data: bytes) -> None:
        for offset, value in enumerate(data):
            at = (position + offset) % SIZE
            for copy in (at, at + SIZE):
                os.pwrite(self._descriptor, bytes([value]), 2 * PAGE + copy)

    def _put(self, at: int, position: int) -> None:
        os.pwrite(self._descriptor, struct.pack("<Q", position), at)


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[Producer]:
    """Yield a fresh ring."""
    made = Producer(tmp_path / "ring")
    yield made
    made.close()


def test_an_empty_ring_gives_nothing(producer: Producer) -> None:
    """The ring is empty too."""
    assert producer.ring.read() == []
    assert producer.ring.is_empty


def test_records_come_in_order_and_once(producer: Producer) -> None:
    """Each with its own length, although they are aligned to 8 bytes."""
    records = [b"a", b"", b"12345678", b"123456789", b"x" * 100]
    producer.write(*records)

    assert producer.ring.read() == records
    assert producer.ring.read() == []
    assert producer.consumed() == producer.position


def test_a_busy_record_holds_up_all_behind_it(producer: Producer) -> None:
    """It was reserved first; otherwise the order would be lost."""
    producer.write(b"first")
    position = producer.reserve(b"second")
    producer.write(b"third")

    assert producer.ring.read() == [b"first"]
    assert producer.ring.read() == []
    producer.commit(position, len(b"second"))
    assert producer.ring.read() == [b"second", b"third"]


def test_a_discarded_record_is_passed_over(producer: Producer) -> None:
    """Its space is freed all the same."""
    position = producer.reserve(b"no event")
    producer.write(b"event")
    producer.commit(position, len(b"no event"), DISCARDED)

    assert producer.ring.read() == [b"event"]
    assert producer.consumed() == producer.position


def test_a_record_that_wraps_is_read_as_one_piece(producer: Producer) -> None:
    """This is why the data is mapped twice in a row."""
    producer.write(b"x" * (SIZE - 40))
    producer.ring.read()
    wrapped = bytes(range(200))
    producer.write(wrapped, b"behind")

    assert producer.ring.read() == [wrapped, b"behind"]


def test_a_ring_is_not_empty_while_a_record_is_being_written(producer: Producer) -> None:
    """A reader that slept now would miss it."""
    position = producer.reserve(b"event")

    assert not producer.ring.is_empty
    producer.commit(position, len(b"event"))
    producer.ring.read()
    assert producer.ring.is_empty


def test_positions_go_on_for_ever(tmp_path: Path) -> None:
    """They count bytes since the ring was created, far beyond 32 bits."""
    producer = Producer(tmp_path / "ring", start=(1 << 40) - 16)
    producer.write(b"before", b"after", b"later")

    assert producer.ring.read() == [b"before", b"after", b"later"]
    producer.close()


def test_a_new_consumer_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    """The position is stored in the ring, not in the reader."""
    producer = Producer(tmp_path / "ring")
    producer.write(b"first")
    producer.ring.read()
    producer.write(b"second")
    producer.close()

    descriptor = os.open(tmp_path / "ring", os.O_RDWR)
    ring = Ring(descriptor, SIZE)
    assert ring.read() == [b"second"]
    ring.close()
    os.close(descriptor)


@given(st.lists(st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=8), max_size=12))
def test_any_course_gives_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[int, bool]]]
) -> None:
    """Records of any length, committed or discarded, wrapping around the end of the ring many times."""
    producer = Producer(tmp_path_factory.mktemp("ring") / "ring")
    number = 0
    for course in rounds:
        expected = []
        for length, is_committed in course:
            number += 1
            data = bytes([number % 251]) * length
            producer.commit(producer.reserve(data), length, 0 if is_committed else DISCARDED)
            if is_committed:
                expected.append(data)
        assert producer.ring.read() == expected
    producer.close()
