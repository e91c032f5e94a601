"""Generated decoders against the generic split of an event's parameters."""

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.captures.format.events import EVENTS, SIGNED, SIZES
from lanner.captures.quick import decoder

COMPLETE = [version.number for version in EVENTS if version.params and len(version.indices) == len(version.params)]


@st.composite
def encoded_events(draw: st.DrawFn) -> tuple[int, list[bytes]]:
    """Draw an event's number and parameters of the sizes of their types, some of them damaged."""
    number = draw(st.sampled_from(COMPLETE))
    params = []
    for param in EVENTS[number].params:
        size = SIZES.get(param.type)
        params.append(draw(st.binary(max_size=9) if size is None else st.binary(min_size=size, max_size=size)))
    if draw(st.booleans()):
        params[draw(st.integers(0, len(params) - 1))] = draw(st.binary(max_size=9))
    return number, params


def _value(kind: str, data: bytes) -> Any:
    return data if SIZES.get(kind) is None else int.from_bytes(data, "little", signed=kind in SIGNED)


@settings(max_examples=500, deadline=None)
@given(encoded_events(), st.integers(0, 3), st.data())
def test_a_decoder_returns_the_parameters_or_refuses(
    event: tuple[int, list[bytes]], before: int, data: st.DataObject
) -> None:
    """Only parameters of the sizes that the event table states are decoded, and never beyond the event's end."""
    number, params = event
    version = EVENTS[number]
    wanted = tuple(data.draw(st.lists(st.sampled_from(sorted(version.indices)), unique=True, min_size=1)))
    sizes = struct.pack(f"<{len(params)}{'I' if version.is_large else 'H'}", *map(len, params))
    window = bytes(before) + sizes + b"".join(params)
    end = len(window) - data.draw(st.sampled_from((0, 0, 1, 5)))

    found = decoder(number, wanted)(window, before, end)

    sound = all(SIZES.get(param.type) in {None, len(each)} for param, each in zip(version.params, params, strict=True))
    if sound and end == len(window):
        at = [version.indices[name] for name in wanted]
        assert found == tuple(_value(version.params[index].type, params[index]) for index in at)
    else:
        assert found is None
