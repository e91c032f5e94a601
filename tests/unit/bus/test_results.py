from bus.results import MAX_REASON, dead_letter


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
