"""Tests of reporting that messages are evaluated late."""

from processor.fleet.consumption import (
    BEHIND,
    CAUGHT_UP,
    OFFSETS_CHANGED,
    STRANGER,
    GroupAlerts,
    Lateness,
    OffsetsChanged,
    PartitionLag,
    PartitionPace,
    StrangerFound,
)

WALL = 1_795_530_000
NS = 10**9

SECOND = 10**9


def lateness() -> Lateness:
    """Return a new report of one worker."""
    return Lateness(30, "worker-1", lambda topic, key: f"{topic}'s {key.decode()}")


def lag(age: float, partition: int = 0, topic: str = "events") -> PartitionLag:
    """Return a partition that is late."""
    return PartitionLag(topic, partition, 1234, age, b"web-1", 0.82)


def test_a_message_in_work_is_the_oldest() -> None:
    """What is not acknowledged makes the partition late, however many later ones are."""
    pace = PartitionPace()
    for offset in range(3):
        pace.take(offset, WALL + offset, b"web-1")
    pace.settle(1, 5.0)

    assert pace.lag("events", 0, 2, WALL + 100, 5.0) == PartitionLag("events", 0, 2, 100, b"web-1", 1.0)
    pace.settle(0, 6.0)
    assert pace.lag("events", 0, 1, WALL + 100, 6.0).age == 98


def test_between_two_messages_of_a_backlog_the_last_one_tells_the_age() -> None:
    """Where none waits, the partition is in time."""
    pace = PartitionPace()
    pace.take(0, WALL, b"web-1")
    pace.settle(0, 5.0)

    assert pace.lag("events", 0, 1, WALL + 50, 6.0).age == 50
    assert pace.lag("events", 0, 0, WALL + 50, 6.0).age == 0
    assert pace.lag("events", 0, 1, WALL + 9000, 900.0).age == 0


def test_messages_that_nobody_takes_are_late_by_the_time_since_then() -> None:
    """How old they are isn't known before one is read."""
    pace = PartitionPace()

    assert [pace.lag("events", 0, 7, WALL + now, float(now)).age for now in (0, 10, 40)] == [0, 10, 40]
    pace.take(0, WALL, b"web-1")
    assert pace.lag("events", 0, 7, WALL + 41, 41.0).age == 41


def test_the_keys_of_most_messages_are_the_latest_ones() -> None:
    """Who was busy a minute ago is not the cause of today's delay."""
    pace = PartitionPace()
    for offset in range(100):
        pace.take(offset, WALL, b"former" if offset < 60 else b"other")
    assert pace.lag("events", 0, 1, WALL, 10.0).busiest == b"former"
    for offset in range(100, 110):
        pace.take(offset, WALL, b"latter")

    pace.lag("events", 0, 1, WALL, 20.0)
    assert pace.lag("events", 0, 1, WALL, 30.0).busiest is None


def test_a_delay_is_reported_when_it_begins_and_when_it_ends() -> None:
    """With topic, partition and who causes it; nothing in between."""
    report = lateness()
    assert report.look([lag(30)], WALL * NS) == []

    (begun,) = report.look([lag(29), lag(31, 3)], WALL * NS)

    assert (begun.rule, begun.priority, begun.hostname) == (BEHIND, "Warning", "worker-1")
    assert begun.output == (
        "topic events is evaluated 31s late: 1,234 messages of partition 3 wait, and 82% of those evaluated last are "
        "of events's web-1"
    )
    assert begun.output_fields == {
        "kafka.topic": "events",
        "kafka.partition": 3,
        "kafka.waiting": 1234,
        "behind_seconds": 31,
    }
    assert report.reasons == [begun.output]
    assert report.look([lag(845, 3)], (WALL + 60) * NS) == []
    assert report.look([lag(16, 3)], (WALL + 90) * NS) == []

    (ended,) = report.look([lag(2, 3)], (WALL + 95) * NS)

    assert (ended.rule, ended.priority) == (CAUGHT_UP, "Notice")
    assert ended.output == "topic events is evaluated in time again after 1m 35s; its events were up to 14m 5s late"
    assert report.reasons == []


def test_a_topic_whose_partitions_have_gone_is_no_longer_late() -> None:
    """Their new owner reports them."""
    report = lateness()
    report.look([lag(31), lag(40, topic="correlate")], WALL * NS)

    assert [(alert.rule, alert.output_fields["kafka.topic"]) for alert in report.look([lag(31)], WALL * NS)] == [
        (CAUGHT_UP, "correlate")
    ]


def test_the_same_is_reported_once_in_five_minutes() -> None:
    """Alerts name the group, and where offsets were changed, the partition and both offsets."""
    alerts = GroupAlerts("lanner.processor", "w")
    moved = OffsetsChanged("lanner.events", 3, 10, 50, "x\x1b[31m")
    found = alerts.of([StrangerFound("a"), moved, moved], SECOND)
    assert [alert.rule for alert in found] == [STRANGER, OFFSETS_CHANGED]
    assert "moved from 10 to 50" in found[1].output
    assert "\x1b" not in found[1].output
    assert found[1].output_fields["kafka.partition"] == 3
    assert alerts.of([StrangerFound("a"), moved], 200 * SECOND) == []
    assert len(alerts.of([StrangerFound("a")], 400 * SECOND)) == 1


def test_a_member_that_no_processor_reports_to_be_is_found_after_a_minute() -> None:
    """A processor that has just started has not reported yet."""
    alerts = GroupAlerts("lanner.processor", "w")
    assert alerts.unknown(["w", "new"], ["w"], 0) == []
    assert alerts.unknown(["w", "new"], ["w", "new"], 50 * SECOND) == []
    assert alerts.unknown(["w", "stranger"], ["w"], 60 * SECOND) == []
    (found,) = alerts.unknown(["w", "stranger"], ["w"], 121 * SECOND)
    assert "member stranger is given partitions" in found.text
