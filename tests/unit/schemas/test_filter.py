"""Filters are united and exchanged between releases; every doubt lets more events through."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.filter import (
    BadFilter,
    Clause,
    PathPattern,
    Predicate,
    PushdownFilter,
    always,
    decode_filter,
    encode_filter,
    union,
)

numbers = st.integers(0, 0xFFFFFFFF)
tests = st.builds(
    Predicate,
    st.sampled_from(["open", "failed", "uid", "arg.request"]),
    numbers,
    st.frozensets(numbers, max_size=4).map(lambda found: tuple(sorted(found))),
)
patterns = st.builds(PathPattern, st.booleans(), st.binary(min_size=1, max_size=20))
clauses = st.builds(
    Clause,
    st.sampled_from(["open", "connect"]),
    st.frozensets(st.tuples(tests, st.booleans()), max_size=3),
    st.one_of(st.none(), st.frozensets(patterns, max_size=3)),
)
filters = st.builds(
    PushdownFilter, st.frozensets(clauses, min_size=1, max_size=5), st.frozensets(st.text(max_size=3), max_size=3)
)
SHADOW = Clause("openat", patterns=frozenset({PathPattern(is_prefix=True, text=b"/etc/shadow\0")}))


@given(filters)
def test_a_filter_survives_its_bytes(pushdown_filter: PushdownFilter) -> None:
    """Paths of arbitrary bytes survive a round trip."""
    assert decode_filter(encode_filter(pushdown_filter)) == pushdown_filter


@given(filters, filters)
def test_a_union_holds_all_of_both(one: PushdownFilter, other: PushdownFilter) -> None:
    """Each clause is in the union, or a clause without conditions for its event type."""
    joined = union(one, other)

    assert joined is not None
    assert all(
        clause in joined.clauses or Clause(clause.event) in joined.clauses for clause in one.clauses | other.clauses
    )
    assert joined.variables == one.variables | other.variables
    assert joined == union(other, one, one)


def test_a_union_with_everything_is_everything() -> None:
    """An unreadable version passes everything; so does the union of no filters."""
    assert union(PushdownFilter(frozenset({SHADOW})), None) is None
    assert union() is None


def test_what_is_always_sent_replaces_narrower_clauses() -> None:
    """Only that event type passes entirely; the clauses of others remain."""
    pushdown_filter = always(
        PushdownFilter(frozenset({SHADOW, Clause("connect", frozenset({(Predicate("uid", 1, (0,)), True)}))})),
        ["connect"],
    )

    assert pushdown_filter.clauses == {SHADOW, Clause("connect")}
    assert pushdown_filter.events == {"openat", "connect"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null",
        b"\xff\xfe",
        b'{"events": {}}',
        b'{"events": {"open": [{"tests": [{"of": "uid"}]}]}}',
        b'{"events": {"open": [{"tests": [{"of": "uid", "mask": -1, "in": [0], "is": true}]}]}}',
        b'{"events": {"open": [{"paths": {"begin": [""], "end": []}}]}}',
        b'{"events": {"open": [7]}}',
        b"[" * 100_000,
        b" " * (9 << 20),
    ],
)
def test_bytes_that_are_not_a_filter_are_refused(data: bytes) -> None:
    """Invalid bytes raise BadFilter."""
    with pytest.raises(BadFilter):
        decode_filter(data)


def test_a_condition_of_a_later_release_is_left_out() -> None:
    """Unknown conditions are dropped, which only lets more events through."""
    body = json.loads(encode_filter(PushdownFilter(frozenset({SHADOW}))))
    body["events"]["openat"][0]["weather"] = {"is": "bad"}
    body["moon"] = "full"

    assert decode_filter(json.dumps(body).encode()).clauses == {SHADOW}
