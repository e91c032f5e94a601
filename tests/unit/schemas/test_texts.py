from hypothesis import given
from hypothesis import strategies as st

from schemas.texts import TextTable, pack_texts, unpack_texts
from tests.unit.schemas.batches import TEXT


@given(st.lists(TEXT, unique=True), st.lists(TEXT | st.none()))
def test_each_text_has_one_index_by_which_it_comes_back(given_texts: list[str], asked: list[str | None]) -> None:
    """Those that a batch has keep theirs, an empty one is not the one that is missing."""
    table = TextTable([None, *given_texts])
    indices = [table[text] for text in asked]

    found = unpack_texts(*pack_texts(table.texts))
    assert found[: 1 + len(given_texts)] == [None, *given_texts]
    assert [found[index] for index in indices] == asked
    assert len(set(found)) == len(found)


def test_a_lone_surrogate_spoils_no_other_text() -> None:
    """It is no bytes and becomes a question mark; bytes that are no UTF-8 stay what they are."""
    assert unpack_texts(*pack_texts(["", "a\ud800b", "\udcff", "Grüße"])) == [None, "a?b", "\udcff", "Grüße"]
