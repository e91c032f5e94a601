from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.encoding.limits import MAX_TEXT_BYTES, TextTable, encode_text, longest_of, pack_texts, unpack_texts
from tests.unit.schemas.batches import TEXT


@given(st.lists(TEXT, unique=True), st.lists(TEXT | st.none()))
def test_each_text_has_one_index_by_which_it_comes_back(given_texts: list[str], requested: list[str | None]) -> None:
    """Existing texts keep their indices; the empty text is not the missing one."""
    table = TextTable([None, *given_texts])
    indices = [table[text] for text in requested]

    found = unpack_texts(*pack_texts(table.texts))
    assert found[: 1 + len(given_texts)] == [None, *given_texts]
    assert [found[index] for index in indices] == requested
    assert len(set(found)) == len(found)


def test_a_lone_surrogate_spoils_no_other_text() -> None:
    """A lone surrogate becomes a question mark; undecodable bytes are preserved."""
    assert unpack_texts(*pack_texts(["", "a\ud800b", "\udcff", "Grüße"])) == [None, "a?b", "\udcff", "Grüße"]


@given(st.lists(st.binary() | TEXT.map(encode_text) | st.sampled_from([b"\xed\xa0\x80", b"a\0b", b"\xc3", b"\xa9"])))
def test_any_bytes_are_decoded_text_by_text(encoded: list[bytes]) -> None:
    """A byte that is no UTF-8 stays itself, also where it would form a character with the text next to it."""
    lengths = array("I", [0, *map(len, encoded)]).tobytes()
    found = unpack_texts(b"".join(encoded), lengths)
    assert found == [None, *(each.decode("utf-8", "surrogateescape") for each in encoded)]


@given(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 5000), max_size=20))
def test_the_bound_of_the_longest_is_one(sizes: list[int]) -> None:
    """The bound is exact for long texts and coarse for short ones."""
    bound = longest_of(array("I", sizes).tobytes())
    assert max(sizes, default=0) <= bound
    assert bound == max(sizes, default=0) or bound == 4096


def test_a_text_longer_than_any_that_a_collector_sends_is_refused() -> None:
    """A text above the limit is rejected; one at the limit is accepted."""
    for size in (64 << 10, MAX_TEXT_BYTES):
        assert unpack_texts(*pack_texts(["", "a" * size]))[1] == "a" * size
    with pytest.raises(ValueError, match="a text of 262145 bytes"):
        unpack_texts(*pack_texts(["", "a", "a" * (MAX_TEXT_BYTES + 1)]))
