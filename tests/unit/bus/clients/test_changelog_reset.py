from bus.clients.compacted import TableEnds


def test_offsets_that_begin_again_are_noticed_once_in_each_partition() -> None:
    """A reset is reported once per partition, also for idle ones; rewriting does not count as another reset."""
    ends = TableEnds({0: 50, 1: 7, 2: 0})
    assert not ends.lacks(0, [50, 51])
    assert not ends.lacks(1, [])
    assert ends.lacks(0, [52, 0, 1])
    assert ends.lacks(1, [])
    assert not ends.lacks(1, [0, 1])
    assert ends.lacks(2, [3])
    assert not any(ends.lacks(partition, [60]) for partition in range(3))


def test_a_topic_that_is_made_again_twice_is_noticed_twice() -> None:
    """A second reset is reported even during the rewriting."""
    ends = TableEnds({0: 9, 1: 9})
    assert ends.lacks(0, [0])
    assert ends.lacks(0, [1, 2, 0])
    assert not ends.lacks(0, [1])
    assert ends.lacks(1, [9])


def test_an_offset_that_the_broker_did_not_report_reports_nothing() -> None:
    """An unknown offset is ignored; a resent record that the broker already had gets one."""
    ends = TableEnds({0: 5})
    assert not ends.lacks(0, [-1, 5])
