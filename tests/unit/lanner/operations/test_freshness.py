from dataclasses import replace

import pytest

from lanner.operations.freshness import (
    DISK_FULL,
    DISK_HAS_ROOM,
    SINK_FAILING,
    SINK_WORKS,
    DiskSpace,
    Freshness,
    FreshnessLimits,
    PipelineQueue,
    ProblemAlerts,
    freshness,
)
from tests.unit.lanner.console.fleet.hosts import READ_AT, host

NOW = READ_AT / 1000
LIMITS = FreshnessLimits(behind=30, undelivered=900, silent=120)
IN_TIME = PipelineQueue("processor", "processors", "events", 3, NOW - 2, 2)
FAILING = PipelineQueue("sink", "file", "this process", 0, None, failure="the disk is full")


def problems(current: Freshness) -> list[tuple[str, str, str]]:
    """Return the problems."""
    return [(each.subject, each.name, each.text) for each in current.problems]


def test_detection_is_current_if_nothing_waits_for_long() -> None:
    """Events are evaluated up to the oldest that waits."""
    current = freshness(NOW, LIMITS, [IN_TIME, PipelineQueue("sink", "slack", "alerts", 2, NOW - 60, 1)], [host()])
    assert not current.problems
    assert (current.evaluated, current.is_late) == (NOW - 2, False)


def test_the_oldest_unevaluated_event_of_any_topic_makes_detection_late() -> None:
    """Another topic that is read in time doesn't hide it."""
    late = PipelineQueue("processor", "processors", "correlate", 762_382, NOW - 846, 2)
    current = freshness(NOW, LIMITS, [IN_TIME, late])
    assert (current.evaluated, current.is_late) == (NOW - 846, True)
    assert problems(current) == [("evaluation", "correlate", "14m 6s behind: 762,382 messages wait for processors")]


def test_the_time_of_evaluation_is_unknown_if_the_oldest_message_could_not_be_read() -> None:
    """Nothing better is claimed."""
    assert freshness(NOW, LIMITS, [replace(IN_TIME, oldest=None)]).evaluated is None


def test_detection_without_a_processor_is_a_problem() -> None:
    """However young the messages are."""
    assert problems(freshness(NOW, LIMITS, [replace(IN_TIME, readers=0)])) == [
        ("evaluation", "events", "no processor runs; 3 messages wait for processors")
    ]


def test_losses_over_a_share_are_losses_of_the_host() -> None:
    """They are counted and named by reason; left out facts are none."""
    losing = host(2, losses={"events_over_share": 1_700_000, "ring_full": 1, "process_stale": 5})
    current = freshness(NOW, LIMITS, [IN_TIME], [host(1), losing, host(3, seen=READ_AT - 300_000)])
    assert problems(current) == [
        ("host", "web-3", "silent for 5m"),
        ("host", "web-2", "lost 1,700,001 events in the last minute: 1,700,000 events_over_share, 1 ring_full"),
    ]


@pytest.mark.parametrize(
    ("waits", "readers", "text", "is_problem"),
    [
        (120, 1, "5 messages of events not archived yet, the oldest for 2m", False),
        (3601, 1, "5 messages of events not archived yet, the oldest for 1h", True),
        (120, 0, "no lanner archive runs; 5 messages of events not archived yet, the oldest for 2m", True),
    ],
)
def test_an_archive_that_lags_or_does_not_run_is_a_problem(
    waits: float, readers: int, text: str, is_problem: bool
) -> None:
    """Some minutes are in order, because it writes a file every few minutes; other readers are not reported."""
    archive = PipelineQueue("reader", "archive", "events", 5, NOW - waits, readers)
    current = freshness(NOW, LIMITS, [IN_TIME, archive, replace(archive, name="siem")])
    assert [(each.text, each.is_problem) for each in current.findings if each.subject == "archive"] == [
        (text, is_problem)
    ]


@pytest.mark.parametrize(
    ("sink", "text"),
    [
        (FAILING, "the disk is full; its alerts are lost"),
        (
            PipelineQueue("sink", "file", "its outbox", 7, NOW - 60, failure="refused"),
            "refused; 7 alerts wait, the oldest for 1m",
        ),
        (PipelineQueue("sink", "file", "alerts", 7, NOW - 60, 0), "no notifier runs for it; 7 alerts wait"),
        (PipelineQueue("sink", "file", "alerts", 1, NOW - 901, 1), "1 alert waits, the oldest for 15m 1s"),
    ],
)
def test_a_sink_that_fails_or_lags_is_a_problem(sink: PipelineQueue, text: str) -> None:
    """With the reason, as far as it is known."""
    assert problems(freshness(NOW, LIMITS, [IN_TIME, sink])) == [("sink", "file", text)]


def test_a_queued_sink_may_fail_for_some_seconds() -> None:
    """Its alerts wait, so a hiccup is not reported."""
    assert not freshness(
        NOW, LIMITS, [IN_TIME, PipelineQueue("sink", "slack", "its outbox", 1, NOW - 5, failure="503")]
    ).problems


def test_a_problem_raises_one_alert_when_it_begins_and_one_when_it_ends() -> None:
    """One that comes and goes within seconds raises no others."""
    alerts = ProblemAlerts("web-1")

    def look(at: float, *queues: PipelineQueue, free: int = 1 << 30) -> list[str]:
        return [
            each.rule
            for each in alerts.look(freshness(NOW + at, LIMITS, queues, disks=[DiskSpace("/var", "keep.folder", free)]))
        ]

    assert look(0, FAILING) == [SINK_FAILING]
    assert look(1, FAILING, free=0) == [DISK_FULL]
    assert look(2) == look(3, FAILING) == look(10) == []
    assert look(11) == [DISK_HAS_ROOM]
    assert look(12) == []
    assert look(13) == [SINK_WORKS]
