import pytest

from collector.pushdown import MAX_VERSIONS, CollectionPlan, collection_plan, common_versions, lay_out
from processor.language.parser import parse
from processor.pushdown.derive import derive
from schemas.filter import Clause, PathPattern, PushdownFilter, encode_filter

OWN = PushdownFilter(frozenset({Clause("bind")}))
ONE = PushdownFilter(frozenset({Clause("openat", patterns=frozenset({PathPattern(is_prefix=True, text=b"/etc/\0")}))}))
TWO = PushdownFilter(
    frozenset({Clause("openat", patterns=frozenset({PathPattern(is_prefix=True, text=b"/srv/\0")}))}),
    variables=frozenset({"HOME"}),
)
EVERYTHING = CollectionPlan(None, frozenset({"*"}))


def version(number: int) -> bytes:
    """Return the key of a version."""
    return f"20261124-190000-{number:08x}".encode()


def test_rule_files_decide_where_nothing_is_published() -> None:
    """Including what is always sent."""
    found = collection_plan({}, OWN, ["connect"])
    assert found.versions == frozenset()
    assert found.pushdown_filter is not None
    assert found.pushdown_filter.events == {"bind", "connect"}


def test_live_versions_are_joined() -> None:
    """Each may still be active in some processor; rule files no longer count."""
    found = collection_plan({version(1): encode_filter(ONE), version(2): encode_filter(TWO)}, OWN, ["execve"])
    assert found.pushdown_filter == PushdownFilter(
        ONE.clauses | TWO.clauses | {Clause("execve")}, variables=frozenset({"HOME"})
    )
    assert found.versions == {version(1).decode(), version(2).decode()}


def test_what_is_always_sent_is_sent_whole() -> None:
    """However little of it the rules need."""
    found = collection_plan({version(1): encode_filter(ONE)}, OWN, ["openat"])
    assert found.pushdown_filter == PushdownFilter(frozenset({Clause("openat")}))


@pytest.mark.parametrize(
    "entries",
    [
        {version(1): encode_filter(ONE), version(2): b"nonsense"},
        {version(1): b""},
        {version(1): b'{"environment": [], "events": {}}'},
        {b"no version": encode_filter(ONE)},
        {version(number): encode_filter(ONE) for number in range(MAX_VERSIONS + 1)},
    ],
)
def test_what_cannot_be_understood_means_everything(entries: dict[bytes, bytes]) -> None:
    """A relevant event must not be dropped because a reader is older or a writer hostile."""
    assert collection_plan(entries, OWN, []) == EVERYTHING


def test_a_batch_reports_only_what_holds_of_all_that_is_in_it() -> None:
    """At a switch, its events passed either filter."""
    a, b, everything = frozenset({"a"}), frozenset({"a", "b"}), frozenset({"*"})
    assert common_versions(a, b) == common_versions(b, a) == a
    assert common_versions(everything, b) == common_versions(b, everything) == b
    assert common_versions(a, frozenset()) == frozenset()


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["dns.question.name exists"], True),
        (["dns.question.name exists and user.uid=0", "dns.answers exists"], True),
        (["dns.question.name exists", "evt.type=read and user.uid=0"], False),
        (["evt.type=read"], False),
    ],
)
def test_calls_that_matter_by_their_answer_alone_are_left_out_first(conditions: list[str], expected: bool) -> None:
    """Before anything of them is copied, because most reads are of files."""
    derived = derive(list(map(parse, conditions)), ["read"])

    assert lay_out(derived).rows["read"].needs_contents is expected


def test_so_are_calls_that_matter_by_their_hello_alone() -> None:
    """Most writes are of files, too."""
    named, other = map(parse, ("tls.client.server_name endswith .example", "evt.type=write and user.uid=0"))

    assert lay_out(derive([named], ["write"])).rows["write"].needs_contents
    assert not lay_out(derive([named, other], ["write"])).rows["write"].needs_contents
