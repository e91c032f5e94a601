from faust.types.tuples import TP

from processor.fleet.kafka.consumer_thread import STALLED_SECONDS, StalledPartitions

FIRST, SECOND = TP("events", 0), TP("events", 1)


def test_a_partition_that_stays_where_it_is_is_found_once_a_minute() -> None:
    """It has messages, or no position yet; another one is read slowly."""
    stalled = StalledPartitions()

    for position in (7, None):
        start = 1000.0 if position else 2000.0
        found = [stalled.look({FIRST: (position, 9), SECOND: (second, 500)}, start + second) for second in range(130)]

        at = [second for second, partitions in enumerate(found) if partitions]
        assert at == [STALLED_SECONDS, 2 * STALLED_SECONDS]
        assert all(found[second] == [FIRST] for second in at)


def test_a_partition_whose_messages_are_all_read_is_not_stalled() -> None:
    """Its time begins when the next message comes."""
    stalled = StalledPartitions()

    assert not stalled.look({FIRST: (9, 9)}, 0)
    assert not stalled.look({FIRST: (9, 10)}, STALLED_SECONDS)
    assert not stalled.look({FIRST: (9, 10)}, 2 * STALLED_SECONDS - 1)
    assert stalled.look({FIRST: (9, 10)}, 2 * STALLED_SECONDS) == [FIRST]


def test_while_nothing_is_known_of_a_partition_no_time_passes() -> None:
    """The broker is away, or the partition is another worker's."""
    stalled = StalledPartitions()

    assert not stalled.look({FIRST: (9, 10)}, 0)
    assert not stalled.look({}, STALLED_SECONDS)
    assert not stalled.look({FIRST: (9, 10)}, STALLED_SECONDS + 1)
