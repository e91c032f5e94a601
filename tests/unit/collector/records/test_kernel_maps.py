import mmap
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.records.kernel_maps import RepeatCounts, RepeatPoll, RepeatSlots, Ring
from collector.records.types import RepeatCount

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


def counted(count: int, *, generation: int = 2, slot: int = 0, is_final: bool = False) -> RepeatCount:
    """Return a slot's count."""
    return RepeatCount(slot, generation, count, last=0, record=b"", is_final=is_final)


def test_a_count_that_grows_is_reported_by_what_it_has_grown() -> None:
    """Counts are read each second, and once more when their slot changes hands."""
    counts = RepeatCounts()

    assert counts.fresh(counted(10)) == 10
    assert counts.fresh(counted(10)) == 0
    assert counts.fresh(counted(13)) == 3
    assert counts.fresh(counted(20, is_final=True)) == 7


def test_a_count_read_before_its_slot_changed_hands_adds_nothing_after_that() -> None:
    """The final count includes it."""
    counts = RepeatCounts()

    assert counts.fresh(counted(20, is_final=True)) == 20
    assert counts.fresh(counted(13)) == 0


def test_the_next_content_of_a_slot_counts_again() -> None:
    """Generations wrap around."""
    counts = RepeatCounts()
    newest = (1 << 32) - 2

    assert counts.fresh(counted(5, generation=newest, is_final=True)) == 5
    assert counts.fresh(counted(4, generation=0)) == 4
    assert counts.fresh(counted(4, generation=newest)) == 0
    assert counts.fresh(counted(4, slot=1, generation=newest)) == 4


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans(), st.booleans()), max_size=30))
def test_all_that_was_counted_is_reported_once(steps: list[tuple[int, bool, bool]]) -> None:
    """A slot counts, is read, or changes hands; a count that was read is processed one step later."""
    counts = RepeatCounts()
    made = reported = generation = count = 0
    waiting: list[RepeatCount] = []
    for more, is_read, changes_hands in steps:
        made, count = made + more, count + more
        late, waiting = waiting, []
        if is_read:
            waiting.append(counted(count, generation=generation))
        if changes_hands:
            reported += counts.fresh(counted(count, generation=generation, is_final=True))
            generation, count = generation + 2, 0
        reported += sum(map(counts.fresh, late))
    reported += sum(map(counts.fresh, [*waiting, counted(count, generation=generation)]))

    assert reported == made


def test_a_count_that_equals_that_of_the_content_before_is_read() -> None:
    """A slot that changed hands since the last look can have reached the same count again."""
    memory = os.memfd_create("slots")
    os.truncate(memory, mmap.PAGESIZE)
    slots = RepeatSlots(memory, 2, lambda _: b"record of 16 byte")

    def write(count: int, generation: int) -> list[tuple[int, int]]:
        os.pwrite(memory, struct.pack("<4Q4I", count, 1, 0, 0, generation, 16, 0, 0), 0)
        return [(repeats.count, repeats.generation) for repeats in slots.changed()]

    assert write(5, 2) == [(5, 2)]
    assert write(5, 2) == []
    assert write(5, 4) == [(5, 4)]
    assert write(0, 6) == []
    slots.close()
    os.close(memory)


class Slots:
    """Slots whose counts grow with each read."""

    def __init__(self) -> None:
        self.reads = 0

    def repeats(self) -> list[RepeatCount]:
        """Return one count more with each read."""
        self.reads += 1
        return [counted(self.reads)]


def test_counts_wait_until_records_sent_before_have_been_read() -> None:
    """They are returned once."""
    slots, poll = Slots(), RepeatPoll(seconds=3600)
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    poll.read(slots.repeats)

    assert not poll.is_ready(before)
    assert poll.is_ready(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    assert [each.count for each in poll.take()] == [1]
    assert poll.take() == []


def test_counts_are_read_at_intervals() -> None:
    """Reading them costs time, so a busy loop only does it at intervals."""
    slots, often, seldom = Slots(), RepeatPoll(seconds=0), RepeatPoll(seconds=3600)
    for poll in (often, seldom):
        poll.read(slots.repeats)
        poll.read(slots.repeats)

    assert slots.reads == 2 + 1
