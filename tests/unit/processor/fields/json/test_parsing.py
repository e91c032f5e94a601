import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.fields.json import parsing
from processor.fields.json.parsing import LEFT_OUT, MAX_CONTAINERS, MAX_EVENT_BYTES, TOO_LARGE, ShortenedText, shortened

_TEXTS = st.text(st.sampled_from('ab"\\[]{}:,\n\u00e9'), max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=40,
)


def _cut(value: Any, levels: int) -> Any:
    if isinstance(value, list):
        return [_cut(each, levels - 1) for each in value] if levels else []
    if isinstance(value, dict):
        return {key: _cut(each, levels - 1) for key, each in value.items()} if levels else {}
    return value


@pytest.mark.parametrize("levels", [2, 3, 256])
@settings(max_examples=200, deadline=None)
@given(value=_VALUES, is_ascii=st.booleans(), indent=st.none() | st.just(1), seed=st.integers(0, 99))
def test_what_is_nested_too_deeply_becomes_empty(
    levels: int, value: Any, *, is_ascii: bool, indent: int | None, seed: int
) -> None:
    """Brackets, escapes and strings may be anywhere at the ends of the pieces that are read."""
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    draw, at = random.Random(seed), 0
    short, before = ShortenedText(), parsing.MAX_TEXT_LEVELS
    parsing.MAX_TEXT_LEVELS = levels
    try:
        while at < len(text):
            size = draw.randrange(1, 9)
            short.add(text[at : at + size])
            at += size
        made = short.finish()
        assert shortened(text, is_event=False) == made
    finally:
        parsing.MAX_TEXT_LEVELS = before

    assert json.loads(made) == _cut(value, levels)
    assert levels < 256 or made == text


@pytest.mark.parametrize(
    "text", [b'{"a": 1', b'{"a": [1}', b'{"a": 1}}', b'{"a": 1}{}', b"x{}", b'{"a', b'{"\\', b"", b"]"]
)
def test_what_is_not_valid_does_not_become_valid(text: bytes) -> None:
    """A reader of the result refuses it, as it would have refused the text."""
    large = text.replace(b"1", b'"%s"' % (b"x" * MAX_EVENT_BYTES))
    for made in (shortened(text), shortened(text, is_event=False), shortened(large)):
        with pytest.raises(json.JSONDecodeError):
            json.loads(made)


def test_the_largest_members_are_left_out_until_the_rest_fits() -> None:
    """Their order in the text does not matter, and the others are as they were."""
    parts = {"a": 1, "b": "x" * (3 << 20), "c": {"d": [1, "]"]}, "e": "y" * (2 << 20), "f": "z" * (1 << 20), "g": None}
    made = json.loads(shortened(json.dumps(parts, indent=1).encode()))

    assert made == {name: parts[name] for name in "acefg"} | {LEFT_OUT: TOO_LARGE}
    everything = {"a": 1, "b": "x" * (9 << 20), "c": [[]] * MAX_CONTAINERS, "d": 2}
    assert json.loads(shortened(json.dumps(everything).encode())) == {"a": 1, "d": 2, LEFT_OUT: TOO_LARGE}


def test_the_last_of_many_members_are_left_out_together() -> None:
    """Their number may be without limit; the first ones remain, and the time is linear."""
    many = {str(number): number for number in range(500_000)}
    made = json.loads(shortened(json.dumps(many).encode()))

    assert made.pop(LEFT_OUT) == TOO_LARGE
    assert 1000 <= len(made) < 2000
    assert made == {name: number for name, number in many.items() if name in made}
    fitting = json.dumps({str(number): number for number in range(50_000)}).encode()
    assert shortened(fitting) == fitting


@pytest.mark.parametrize(
    "text",
    [
        b"[%s]" % (b'"x",' * (2 << 20)),
        b" " * 2 * MAX_EVENT_BYTES + b"{}",
        b"{}" + b" " * 2 * MAX_EVENT_BYTES,
        b'"%s"' % (b"x" * MAX_EVENT_BYTES),
    ],
)
def test_what_is_no_object_is_left_out_as_a_whole(text: bytes) -> None:
    """A list may be one of events, none of which disappears without notice."""
    assert json.loads(shortened(text)) == {LEFT_OUT: TOO_LARGE}
