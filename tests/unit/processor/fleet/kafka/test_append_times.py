from dataclasses import dataclass

from processor.fleet.kafka.transport import AppendTimes
from tests.notes import into

NOON_MS = 1_795_530_690_479


@dataclass
class Message:
    timestamp: float
    timestamp_type: int
    topic: str = "lanner.events"


def test_the_brokers_stamp_is_taken() -> None:
    """To the millisecond, though Faust gives it as seconds."""
    notes: list[str] = []
    assert AppendTimes(into(notes)).of(Message(NOON_MS / 1000, 1)) == NOON_MS
    assert notes == []


def test_a_time_that_the_sender_chose_is_not_trusted() -> None:
    """This machine's clock is used instead, and each topic is reported once."""
    notes: list[str] = []
    times = AppendTimes(into(notes), clock=lambda: NOON_MS * 1_000_000)
    for topic in ("lanner.events", "lanner.events", "lanner.correlate"):
        assert times.of(Message(NOON_MS / 1000 + 10**9, 0, topic)) == NOON_MS
    assert [note.split()[2] for note in notes] == ["lanner.events", "lanner.correlate"]
