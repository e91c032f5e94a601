import pytest

from collector.events.texts import signed32, signed64


@pytest.mark.parametrize(
    ("register", "as_int", "as_long"),
    [
        (0, 0, 0),
        (2**31 - 1, 2**31 - 1, 2**31 - 1),
        (2**31, -(2**31), 2**31),
        (2**32 - 1, -1, 2**32 - 1),
        (2**63, 0, -(2**63)),
        (2**64 - 1, -1, -1),
    ],
)
def test_a_register_reads_as_c_does(register: int, as_int: int, as_long: int) -> None:
    """An int is the lower half."""
    assert (signed32(register), signed64(register)) == (as_int, as_long)
