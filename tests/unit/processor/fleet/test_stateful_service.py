"""Tests of the order in which a processor takes the messages of a partition."""

from dataclasses import dataclass

from processor.fleet.stateful_service import in_turns


@dataclass(frozen=True)
class Message:
    """What matters of a message."""

    key: bytes
    timestamp: float
    offset: int


def test_a_busy_group_waits_for_the_first_messages_of_others() -> None:
    """Within a second each group is next once, and the order of a group stays."""
    keys = [b"busy", b"busy", b"busy", b"other", b"busy", b"third", b"other"]
    messages = [Message(key, 7.5, offset) for offset, key in enumerate(keys)]

    assert [message.offset for message in in_turns(messages)] == [0, 3, 5, 1, 6, 2, 4]


def test_a_second_ends_before_the_next_one_begins() -> None:
    """Windows end by the broker's clock, so no message may be overtaken by one that came a second later."""
    messages = [
        Message(b"busy", 7.0, 0),
        Message(b"busy", 7.9, 1),
        Message(b"other", 8.1, 2),
        Message(b"other", 6.0, 3),
    ]

    assert [message.offset for message in in_turns(messages)] == [0, 1, 2, 3]
