import zlib

from lanner.recorder.filter_coverage import covers, read_interest
from schemas.encoding.filter_json import encode_filter
from schemas.filter import Clause, PathPattern, Predicate, PushdownFilter

ROOT = (Predicate("uid", 0xFFFFFFFF, (0,)), True)
FAILED = (Predicate("failed", 1, (1,)), True)
ETC, SHADOW = PathPattern(is_prefix=True, text=b"/etc/"), PathPattern(is_prefix=True, text=b"/etc/shadow\0")
KEY = PathPattern(is_prefix=False, text=b".key")


def way(*tests: tuple[Predicate, bool], places: tuple[PathPattern, ...] | None = None) -> Clause:
    """Return a clause for openat."""
    return Clause("openat", frozenset(tests), None if places is None else frozenset(places))


def is_covered(now: Clause, *then: Clause) -> bool:
    """Return whether a clause is covered by any of several older clauses."""
    return covers(PushdownFilter(frozenset(then)), PushdownFilter(frozenset({now})), "openat")


def test_a_way_with_more_conditions_lies_within_one_with_fewer() -> None:
    """More conditions are narrower, fewer are not."""
    assert is_covered(way(ROOT, FAILED), way(ROOT))
    assert is_covered(way(ROOT, places=(ETC,)), way())
    assert not is_covered(way(ROOT), way(ROOT, FAILED))
    assert not is_covered(way(), way(places=(ETC,)))


def test_a_path_lies_within_its_folder() -> None:
    """Prefixes are compared with prefixes, suffixes with suffixes; every path must be covered."""
    assert is_covered(way(places=(SHADOW,)), way(places=(ETC, KEY)))
    assert is_covered(way(places=(PathPattern(is_prefix=False, text=b"/x.key"),)), way(places=(KEY,)))
    assert not is_covered(way(places=(ETC,)), way(places=(SHADOW,)))
    assert not is_covered(way(places=(SHADOW, KEY)), way(places=(ETC,)))


def test_other_event_types_do_not_matter() -> None:
    """Event types that the rules don't select can't be missing."""
    now = PushdownFilter(frozenset({Clause("execve")}))
    assert covers(PushdownFilter(frozenset({way(ROOT)})), now, "openat")
    assert not covers(PushdownFilter(frozenset({way(ROOT)})), now, "execve")


def test_what_a_batch_tells_is_read_or_is_nothing() -> None:
    """Invalid data from a compromised host is ignored."""
    interest = PushdownFilter(frozenset({way(ROOT, places=(ETC,))}))
    assert read_interest(zlib.compress(encode_filter(interest))) == interest
    for told in (b"", b"x", zlib.compress(b"{}"), zlib.compress(b" " * (64 << 20))):
        assert read_interest(told) is None
