from bus.messages import CLOCK, MAX_REASON, SENT, BrokerClock, HostClock, append_time, correction, dead_letter

SECOND = 1_000_000_000
NOON = 1_795_530_690 * SECOND
HOUR = 3600 * SECOND


def sent(time: int, clock: int | None = None) -> list[tuple[str, object]]:
    """Return the headers of a message."""
    headers: list[tuple[str, object]] = [("content-type", b"avro/binary"), (SENT, str(time).encode())]
    return headers if clock is None else [*headers, (CLOCK, str(clock).encode())]


def test_a_clock_that_is_nearly_right_is_left_alone() -> None:
    """Offsets up to five seconds are not corrected."""
    for off in (-5 * SECOND, -1, 0, 3 * SECOND, 5 * SECOND):
        assert correction(sent(NOON - off), NOON) == 0


def test_a_clock_an_hour_ahead_is_set_back() -> None:
    """Without a measured offset, append time minus send time is used."""
    assert correction(sent(NOON + HOUR), NOON) == -HOUR
    assert correction(sent(NOON - HOUR), NOON) == HOUR


def test_what_the_collector_worked_out_goes_before() -> None:
    """A measured offset counts, so a batch that waited is not corrected."""
    assert correction(sent(NOON - 600 * SECOND, clock=2_000_000), NOON) == 0
    assert correction(sent(NOON - 600 * SECOND, clock=-HOUR), NOON) == -HOUR


def test_headers_that_report_nothing_correct_nothing() -> None:
    """Invalid headers give no correction."""
    for value in (b"", b"soon", b"9" * 30, b"1" + b"0" * 19, None, "7"):
        assert correction([(CLOCK, value)], NOON) == 0
        assert correction([(SENT, value)], NOON) == 0
    assert correction([], NOON) == 0


def test_a_delivery_that_took_long_reports_nothing() -> None:
    """Slow deliveries are ignored as too imprecise."""
    clock = HostClock()
    clock.delivered(NOON, NOON + 60 * SECOND, NOON + HOUR)
    assert clock.offset is None
    clock.delivered(NOON, NOON + 20, NOON + HOUR + 10)
    assert clock.offset == HOUR
    clock.delivered(NOON, NOON - 5, NOON)
    assert clock.offset == HOUR


def test_a_host_that_starts_in_1970_is_set_right() -> None:
    """A clock that starts in 1970 is corrected."""
    assert correction(sent(1000 * SECOND), NOON) == NOON - 1000 * SECOND


def test_an_event_is_not_later_than_its_message() -> None:
    """The append time is the end of the broker's millisecond."""
    assert append_time(NOON // 1_000_000) >= NOON + 123_456


def test_the_brokers_time_goes_on_while_nothing_comes() -> None:
    """The message that was read soonest after it was appended determines the time."""
    clock = BrokerClock()
    assert clock.now(100.0) is None
    clock.seen(1_000_000, 100.0)
    clock.seen(900_000, 101.0)
    assert clock.now(101.0) == 1_001_000
    clock.seen(1_002_000, 101.5)
    assert clock.now(111.5) == 1_012_000


def test_a_brokers_clock_that_is_set_back_is_followed() -> None:
    """A broker's clock that was set back is followed after some minutes."""
    clock = BrokerClock()
    clock.seen(1_000_000_000, 0.0)
    for second in range(1, 700):
        clock.seen(1_000_000 + second * 1000, float(second))
    assert clock.now(700.0) == 1_700_000


def test_a_dead_letter_has_the_message_and_its_position() -> None:
    """The original headers are stored with a prefix."""
    made = dead_letter("too odd", ("t.events", 3, 17), b"host", b"value", [("reason", b"mine"), ("x", None)])
    assert (made.key, made.value) == (b"host", b"value")
    assert made.headers == [
        ("reason", b"too odd"),
        ("topic", b"t.events"),
        ("partition", b"3"),
        ("offset", b"17"),
        ("original_reason", b"mine"),
        ("original_x", b""),
    ]


def test_a_dead_letter_without_its_message_has_nothing_that_a_host_chose() -> None:
    """Without the message, key, value and headers are left out, and the size is recorded."""
    huge = b"A" * 5_000_000
    whole = dead_letter("r" * 10_000, ("t.events", 3, 17), huge, huge, [("x", huge)], facts=[("sink", b"slack")])
    made = whole.without_message()
    assert (made.key, made.value) == (None, b"")
    assert dict(made.headers) == {
        "reason": b"r" * MAX_REASON,
        "topic": b"t.events",
        "partition": b"3",
        "offset": b"17",
        "sink": b"slack",
        "omitted_bytes": b"5000000",
    }


def test_the_names_of_the_headers_that_it_had_are_made_encodable() -> None:
    """Lone surrogates in header names are replaced, since they crash the client."""
    made = dead_letter("odd", ("t.events", 3, 17), None, None, [("x\ud800", b"1")])
    assert made.original == [("original_x?", b"1")]
