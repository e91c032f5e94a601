import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.containers.protobuf import Message, encode


@given(st.lists(st.tuples(st.integers(1, 2**20), st.integers(0, 2**63 - 1) | st.text() | st.binary()), max_size=20))
def test_what_is_encoded_is_read_again(fields: list[tuple[int, int | str | bytes]]) -> None:
    """The last value of a field counts."""
    message = Message(encode(fields))

    for number, value in dict(fields).items():
        if isinstance(value, int):
            assert message.integer(number) == value
        elif isinstance(value, str):
            assert message.text(number) == value.encode().decode("utf-8", "replace")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    """Nothing but ValueError comes out, and no memory is used beyond the data."""
    try:
        Message(data).message(1).mapping(2)
    except ValueError:
        return


@pytest.mark.parametrize("data", [b"\x0a\x05abc", b"\x08", b"\x08" + b"\xff" * 11, b"\x0b", b"\x0d\x00"])
def test_a_broken_message_is_refused(data: bytes) -> None:
    """Too short, without a value, a number without end, a group, half a fixed32."""
    with pytest.raises(ValueError, match=r"a field|within a number|too long|wire type"):
        Message(data)


def test_a_missing_field_has_its_default() -> None:
    """As proto3 prescribes."""
    message = Message(encode([(1, "a")]))

    assert (message.integer(1), message.text(2), message.mapping(3), message.messages(4)) == (0, "", {}, [])
