"""New repeats in the kernel side's counts: each is reported once, whichever way it arrives."""

import mmap
import os
import struct
import time

from hypothesis import given
from hypothesis import strategies as st

from collector.records.repeat_counts import RepeatCounts, RepeatPoll, RepeatSlots
from collector.records.types import RepeatCount


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
