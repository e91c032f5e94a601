"""Repeated calls of a process: some are sent, the rest is counted, and nothing that a rule distinguishes is hidden."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.records.decode import decode, identity_of
from collector.records.kernel_maps import REPEAT_BYTES, REPEAT_SLOTS, RepeatCounts
from collector.records.types import RepeatCount, Syscall
from tests.unit.collector.bpf.native import NativeKernel
from tests.unit.collector.calls import call, file
from tests.unit.collector.random_calls import EVENTS, random_call

SENT_WHOLE, FACTS_VERSION = 2, 3
SECOND = 1_000_000_000
LIMIT = 3
HEADER = 48
READ = call("openat", [0, 0, 0], path1="/etc/shadow", result=-13)
LONG = call("openat", path1="/" + "x" * REPEAT_BYTES, result=-13)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> NativeKernel:
    """Return the program, compiled once."""
    return NativeKernel(tmp_path_factory.mktemp("native"))


@dataclass
class Watch:
    """Follows what a kernel sends and counts, as the collector does."""

    kernel: NativeKernel
    now: int = 10 * SECOND
    facts: int = 0
    sent: list[bytes] = field(default_factory=list)
    counted: Counter[bytes] = field(default_factory=Counter)
    """By what equal records share."""
    counts: RepeatCounts = field(default_factory=RepeatCounts)

    def __post_init__(self) -> None:
        self.kernel.put(None, EVENTS)
        self.kernel.set_setting(SENT_WHOLE, LIMIT)
        self.kernel.fill_ring(is_full=False)
        self.kernel.set_cpu(0)
        self.change_facts()
        for name in ("repeats", "repeated_records"):
            self.kernel.cells(name, HEADER * REPEAT_SLOTS)[:] = bytes(HEADER * REPEAT_SLOTS)
        self.kernel.take()

    def make(self, made: Syscall, after: int = 1) -> list[bytes]:
        """Make a call so many nanoseconds later; return what was sent for it."""
        self.now += after
        self.kernel.set_clock(self.now)
        self.kernel.make(made)
        found = []
        for raw in self.kernel.take():
            record = decode(raw)
            if isinstance(record, RepeatCount):
                self._count(record)
            else:
                found.append(raw)
        self.sent += found
        return found

    def change_facts(self) -> None:
        """Change a fact about a process."""
        self.facts += 1
        self.kernel.set_setting(FACTS_VERSION, self.facts)

    def sweep(self) -> None:
        """Read the slots' counts, as the collector does each second."""
        headers = bytes(self.kernel.cells("repeats", HEADER * REPEAT_SLOTS))
        records = bytes(self.kernel.cells("repeated_records", REPEAT_BYTES * REPEAT_SLOTS))
        for slot in range(REPEAT_SLOTS):
            count, last, _, _, generation, size = decode_header(headers[HEADER * slot :][:HEADER])
            if count:
                record = records[REPEAT_BYTES * slot :][:size]
                self._count(RepeatCount(slot, generation, count, last, record, is_final=False))

    def _count(self, repeats: RepeatCount) -> None:
        self.counted[identity_of(repeats.record)] += self.counts.fresh(repeats)

    def totals(self) -> Counter[bytes]:
        """Count, by what equal records share, what was sent and what was counted."""
        return Counter(identity_of(record) for record in self.sent) + self.counted


def decode_header(data: bytes) -> tuple[int, ...]:
    """Return count, last, window, version, generation and size."""
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, 32, 8)]
    return (*words, int.from_bytes(data[32:36], "little"), int.from_bytes(data[36:40], "little"))


def test_the_first_ones_of_each_second_are_sent_and_the_rest_counted(kernel: NativeKernel) -> None:
    """The last one sent is marked."""
    watch = Watch(kernel)
    for _ in range(1000):
        watch.make(READ)
    watch.make(READ, after=SECOND + 1)
    watch.sweep()

    marks = [decode(record).is_last_whole for record in watch.sent]  # type: ignore[union-attr]
    assert marks == [False, False, True, False]
    assert list(watch.counted.values()) == [1000 - LIMIT]


def test_what_changes_about_a_process_has_its_next_call_sent(kernel: NativeKernel) -> None:
    """Its working directory, its parent's program: the record is the same, but the event shows more."""
    watch = Watch(kernel)
    for _ in range(10):
        watch.make(READ)
    watch.change_facts()

    assert len(watch.make(READ)) == 1
    assert list(watch.counted.values()) == [10 - LIMIT]
    assert watch.make(READ) == []


def test_a_call_lost_after_a_change_does_not_count_as_sent(kernel: NativeKernel) -> None:
    """The next one shows what the lost one would have shown."""
    watch = Watch(kernel)
    for _ in range(LIMIT):
        watch.make(READ)
    watch.change_facts()
    kernel.fill_ring(is_full=True)
    watch.make(READ)
    kernel.fill_ring(is_full=False)

    assert len(watch.make(READ)) == 1


def test_what_a_register_holds_that_no_argument_is_made_of_makes_no_difference(kernel: NativeKernel) -> None:
    """Otherwise a program could vary one argument to have all its calls sent."""
    watch = Watch(kernel)
    for number in range(10):
        made = call("openat", [0, 0, 0, 0, number, number << 40], path1="/etc/shadow", result=-13)
        watch.make(made)

    assert len(watch.sent) == LIMIT


def test_a_call_too_long_for_a_slot_is_always_sent(kernel: NativeKernel) -> None:
    """It takes its share of the ring, and no more."""
    watch = Watch(kernel)
    for _ in range(10):
        assert len(watch.make(LONG)) == 1


def test_what_finds_no_room_does_not_count_as_sent(kernel: NativeKernel) -> None:
    """The collector must have seen a call before equal ones are only counted."""
    watch = Watch(kernel)
    watch.kernel.fill_ring(is_full=True)
    for _ in range(10):
        watch.make(READ)
    watch.kernel.fill_ring(is_full=False)

    assert [decode(watch.make(READ)[0]).is_last_whole for _ in range(LIMIT)] == [False, False, True]  # type: ignore[union-attr]
    assert watch.make(READ) == []


ACTIONS = st.sampled_from(["call"] * 30 + ["facts", "sweep", "full", "room", "late"])


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=True), st.lists(ACTIONS, max_size=200), st.integers(1, 8))
def test_every_call_is_sent_counted_or_lost_and_the_first_of_each_kind_is_sent(
    kernel: NativeKernel, chance: Random, actions: list[str], kinds: int
) -> None:
    """Kinds differ by everything that a rule can check except the time; changed facts make new kinds of all."""
    watch = Watch(kernel)
    calls = [random_call(chance) for _ in range(kinds)]
    calls += [call("openat", path1=f"/etc/{number}", file=file(), fd=3, result=3) for number in range(2)]
    identities = [identity_by_itself(watch, each) for each in calls]
    made: Counter[bytes] = Counter()
    lost: Counter[bytes] = Counter()
    sent: set[tuple[int, bytes]] = set()
    for act in actions:
        if act == "facts":
            watch.change_facts()
        elif act == "sweep":
            watch.sweep()
        elif act in ("full", "room"):
            kernel.fill_ring(is_full=act == "full")
        else:
            which = chance.randrange(len(calls))
            identity = identities[which]
            made[identity] += 1
            before = lost_so_far(kernel)
            if watch.make(calls[which], after=2 * SECOND if act == "late" else chance.randrange(1, SECOND // 20)):
                sent.add((watch.facts, identity))
            lost[identity] += lost_so_far(kernel) - before
            assert (watch.facts, identity) in sent or lost_so_far(kernel) > before
    watch.sweep()

    assert watch.totals() + lost == made


def lost_so_far(kernel: NativeKernel) -> int:
    """Return how many records found no space."""
    return int.from_bytes(bytes(kernel.cells("counters", 16))[8:], "little")


def identity_by_itself(watch: Watch, made: Syscall) -> bytes:
    """Return what a call's record shares with equal ones, from a kernel that sends everything."""
    watch.kernel.set_setting(SENT_WHOLE, 0)
    watch.kernel.make(made)
    (record,) = watch.kernel.take()
    watch.kernel.set_setting(SENT_WHOLE, LIMIT)
    return identity_of(record)
