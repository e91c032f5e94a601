from dataclasses import dataclass

from processor.hosts.sequences import EvaluatedBatches, ReplayCounts


@dataclass(frozen=True)
class Numbers:
    sequence: int
    host_id: str = "host"
    boot_id: str = "boot"
    collector_start: int = 100
    previous_start: int = 0
    previous_sequence: int = -1
    first_index: int = 0
    count: int = 5


def test_a_batch_that_is_in_the_topic_again_is_a_replay() -> None:
    """One that is read again at its own offset is none, and neither is one that was never evaluated."""
    known = EvaluatedBatches()
    for number in (1, 2, 3, 5):
        known.add(0, Numbers(number), 10 + number)
    assert [number for number in range(1, 8) if known.has(0, Numbers(number), 100)] == [1, 2, 3, 5]
    assert not any(known.has(0, Numbers(number), 10 + number) for number in (1, 2, 3, 5))
    assert not known.has(1, Numbers(1), 100)
    assert not known.has(0, Numbers(1, boot_id="other"), 100)
    assert not known.has(0, Numbers(1, host_id="other"), 100)
    known.add(0, Numbers(4), 200)
    assert known.has(0, Numbers(4), 201)
    known.forget(frozenset({0}))
    assert not known.has(0, Numbers(4), 202)


def test_the_rest_of_a_batch_that_was_sent_in_parts_is_no_replay() -> None:
    """Neither the parts after the first, nor the whole, which a collector sends that died in between."""
    known = EvaluatedBatches()
    known.add(0, Numbers(1, count=2), 1)
    assert not known.has(0, Numbers(1, count=5), 2)
    assert not known.has(0, Numbers(1, first_index=2, count=3), 2)
    known.add(0, Numbers(1, first_index=2, count=3), 2)
    assert not known.has(0, Numbers(1, first_index=2, count=3), 3)


def test_what_is_remembered_of_a_host_is_bounded() -> None:
    """What was forgotten is evaluated again."""
    known = EvaluatedBatches()
    for number in range(2_000, 0, -2):
        known.add(0, Numbers(number), 10_000 - number)
    assert sum(known.has(0, Numbers(number), 20_000) for number in range(2_001)) == 64
    for start in range(50):
        known.add(0, Numbers(1, collector_start=start), 30_000)
    assert sum(known.has(0, Numbers(1, collector_start=start), 40_000) for start in range(50)) == 16


def test_replays_are_reported_once_a_second_with_their_number() -> None:
    """A report is a message of its own; a few are not worth one."""
    counts = ReplayCounts()
    assert [counts.take("host", 7) for _ in range(12)] == [0] * 9 + [10, 0, 0]
    assert [counts.take("host", second) for second in (8, 8, 10)] == [3, 0, 2]
    counts.take("host", 10)
    assert [counts.take_rest("host"), counts.take_rest("host"), counts.take_rest("other")] == [1, 0, 0]
