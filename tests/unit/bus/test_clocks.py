from bus.clocks import HostClock, correction
from bus.headers import CLOCK, SENT

SECOND = 1_000_000_000
NOON = 1_795_530_690 * SECOND
HOUR = 3600 * SECOND


def sent(time: int, clock: int | None = None) -> list[tuple[str, object]]:
    """Give a message's headers."""
    told: list[tuple[str, object]] = [("content-type", b"avro/binary"), (SENT, str(time).encode())]
    return told if clock is None else [*told, (CLOCK, str(clock).encode())]


def test_a_clock_that_is_nearly_right_is_left_alone() -> None:
    """Up to five seconds, either way."""
    for off in (-5 * SECOND, -1, 0, 3 * SECOND, 5 * SECOND):
        assert correction(sent(NOON - off), NOON) == 0


def test_a_clock_an_hour_ahead_is_set_back() -> None:
    """By the time at which the broker took the batch."""
    assert correction(sent(NOON + HOUR), NOON) == -HOUR
    assert correction(sent(NOON - HOUR), NOON) == HOUR


def test_what_the_collector_worked_out_goes_before() -> None:
    """A batch that waited ten minutes for its broker is no sign of a wrong clock."""
    assert correction(sent(NOON - 600 * SECOND, clock=2_000_000), NOON) == 0
    assert correction(sent(NOON - 600 * SECOND, clock=-HOUR), NOON) == -HOUR


def test_headers_that_say_nothing_correct_nothing() -> None:
    """They come from a host that may be taken over."""
    for value in (b"", b"soon", b"9" * 30, b"1" + b"0" * 19, None, "7"):
        assert correction([(CLOCK, value)], NOON) == 0
        assert correction([(SENT, value)], NOON) == 0
    assert correction([], NOON) == 0


def test_a_delivery_that_took_long_says_nothing() -> None:
    """The broker's clock lay anywhere within."""
    clock = HostClock()
    clock.delivered(NOON, NOON + 60 * SECOND, NOON + HOUR)
    assert clock.offset is None
    clock.delivered(NOON, NOON + 20, NOON + HOUR + 10)
    assert clock.offset == HOUR
    clock.delivered(NOON, NOON - 5, NOON)
    assert clock.offset == HOUR
