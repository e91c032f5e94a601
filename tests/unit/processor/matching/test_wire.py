from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.correlation.stage import CorrelateStage
from processor.matching.pre_match import (
    Action,
    Candidate,
    Content,
    EventOrigin,
    Feed,
    Notice,
    PreMatch,
    Relay,
    StateCommand,
)
from processor.matching.wire import BadPreMatch, decode_pre_match, encode_pre_match, group_key, group_of_key, message_of
from tests.golden.messages import golden_message, pre_match_0_1, pre_match_0_2, pre_match_0_3, pre_match_0_4
from tests.unit.processor.correlation.rules import ALL_KINDS, START, Host, pre_matches

_texts = st.text() | st.sampled_from(["\udcff", "\ud800", ""])
_values: Any = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _texts | st.lists(_texts).map(tuple)
_fields = st.dictionaries(st.text(st.characters(codec="utf-8")), _values, max_size=3)
_groups = st.lists(st.none() | _texts, max_size=3).map(tuple)
_contents = st.builds(Content, st.lists(_texts).map(tuple), _fields, _fields)
_clocks = st.integers(-(2**62), 2**62 - 1)
_names = st.text(st.characters(codec="utf-8"), max_size=5)


def _candidate(term: str, by: tuple[str | None, ...], content: Content) -> Candidate:
    return Candidate(term, by, lambda: content)


_feeds = st.lists(st.builds(Feed, _names, st.none() | _texts, _fields), max_size=2).map(tuple)
_candidates = st.lists(st.builds(_candidate, _names, _groups, _contents), max_size=2).map(tuple)
_relay_lists = st.recursive(
    st.just(()),
    lambda further: st.lists(st.builds(Relay, _groups, _feeds, _candidates, further), max_size=2).map(tuple),
    max_leaves=4,
)


@given(
    st.builds(
        PreMatch,
        st.builds(EventOrigin, _names, _names, _clocks, st.integers(0, 2**40 - 1), st.integers(0, 10**5)),
        _clocks,
        _texts,
        _groups,
        _feeds,
        _candidates,
        st.integers(0, 2**62),
        st.booleans(),
        st.integers(1, 2**40),
        st.none()
        | st.builds(Notice, _names, _names, st.dictionaries(_names, st.integers(0, 2**62), max_size=2), _texts),
        st.none(),
        st.none()
        | st.builds(StateCommand, st.sampled_from(get_args(Action)), _names, st.none() | _texts, st.booleans()),
        _relay_lists,
        _clocks,
    )
)
def test_a_pre_matched_event_comes_back_as_it_went(pre_match: PreMatch) -> None:
    """Bytes that are no text included: what decides must not change on the way."""
    back = decode_pre_match(encode_pre_match(pre_match))

    assert replace(back, candidates=(), relays=()) == replace(pre_match, candidates=(), relays=())
    assert encode_pre_match(back) == encode_pre_match(pre_match)
    for read, written in zip(back.candidates, pre_match.candidates, strict=True):
        assert (read.term, read.by, made(read)) == (written.term, written.by, made(written))


def made(candidate: Candidate) -> Content | None:
    """Return the content of a candidate."""
    return candidate.content and candidate.content()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("pre_match-0.1", pre_match_0_1()),
        ("pre_match-0.2", pre_match_0_2()),
        ("pre_match-0.3", pre_match_0_3()),
        ("pre_match-0.4", pre_match_0_4()),
    ],
)
def test_the_pre_matched_events_of_former_releases_are_read_for_ever(name: str, written: PreMatch) -> None:
    """What waits for correlation was written by the processor before an upgrade."""
    back = decode_pre_match(golden_message(name))

    assert replace(back, candidates=()) == replace(written, candidates=())
    assert [made(each) for each in back.candidates] == [made(each) for each in written.candidates]


@given(st.binary(max_size=50))
def test_bytes_that_are_no_pre_matched_event_are_refused(data: bytes) -> None:
    """With or without the right beginning."""
    whole = encode_pre_match(PreMatch(EventOrigin("h", "b", 1, 2, 3), 4, "web", ("g",)))
    for wrong in (data, whole[:10] + data, whole[: len(whole) // 2]):
        try:
            decode_pre_match(wrong)
        except BadPreMatch:
            continue


@given(_groups, _groups)
def test_no_two_groups_share_a_key(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> None:
    """Values that run into each other, missing ones and empty ones stay apart."""
    assert (group_key(one) == group_key(other)) == (one == other)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": 2**43},
        {"sequence": -1},
        {"index": 2**20},
        {"index": -1},
        {"collector_start": 2**62},
        {"time": 2**62},
    ],
)
def test_an_event_whose_place_no_state_can_hold_is_refused(wrong: dict[str, int]) -> None:
    """It may be in the topic from before its batch was checked; the state of others is written all the same."""
    (event,) = pre_matches(ALL_KINDS, Host().accept(0))[:1]
    origin = replace(event.origin, **{name: value for name, value in wrong.items() if name != "time"})
    hostile = encode_pre_match(replace(event, origin=origin, time=wrong.get("time", event.time)))
    with pytest.raises(BadPreMatch, match=r"out of range|no clock shows"):
        decode_pre_match(hostile)
    stage = CorrelateStage(ALL_KINDS.plan)
    stage.begin(0, [])
    assert not stage.take(0, *message_of(event), START, 0).refused
    assert stage.take(0, b"", hostile, START, 1).refused.startswith("not decodable: ")
    assert all(change.blob for change in stage.take_changes(0))


@given(_groups)
def test_a_key_names_its_group(group: tuple[str | None, ...]) -> None:
    """People read in alerts whose messages make a partition late."""
    assert group_of_key(group_key(group)) == group


@pytest.mark.parametrize("key", [b"tick", b"9:ab", b"x:a", b"1"])
def test_a_key_that_names_no_group_is_a_text(key: bytes) -> None:
    """Other messages have keys, too."""
    assert group_of_key(key) == (key.decode(),)
