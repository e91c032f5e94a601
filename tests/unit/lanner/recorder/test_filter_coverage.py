import zlib

from lanner.recorder.coverage import covers, read_filter
from schemas.filter import Clause, PathPattern, Predicate, PushdownFilter, encode_filter

ROOT = (Predicate("uid", 0xFFFFFFFF, (0,)), True)
FAILED = (Predicate("failed", 1, (1,)), True)
ETC, SHADOW = PathPattern(is_prefix=True, text=b"/etc/"), PathPattern(is_prefix=True, text=b"/etc/shadow\0")
KEY = PathPattern(is_prefix=False, text=b".key")


def clause(*tests: tuple[Predicate, bool], patterns: tuple[PathPattern, ...] | None = None) -> Clause:
    """Return a clause for openat."""
    return Clause("openat", frozenset(tests), None if patterns is None else frozenset(patterns))


def is_covered(now: Clause, *then: Clause) -> bool:
    """Return whether a clause is covered by any of several older clauses."""
    return covers(PushdownFilter(frozenset(then)), PushdownFilter(frozenset({now})), "openat")


def test_a_way_with_more_conditions_lies_within_one_with_fewer() -> None:
    """More conditions are narrower, fewer are not."""
    assert is_covered(clause(ROOT, FAILED), clause(ROOT))
    assert is_covered(clause(ROOT, patterns=(ETC,)), clause())
    assert not is_covered(clause(ROOT), clause(ROOT, FAILED))
    assert not is_covered(clause(), clause(patterns=(ETC,)))


def test_a_path_lies_within_its_folder() -> None:
    """Prefixes are compared with prefixes, suffixes with suffixes; every path must be covered."""
    assert is_covered(clause(patterns=(SHADOW,)), clause(patterns=(ETC, KEY)))
    assert is_covered(clause(patterns=(PathPattern(is_prefix=False, text=b"/x.key"),)), clause(patterns=(KEY,)))
    assert not is_covered(clause(patterns=(ETC,)), clause(patterns=(SHADOW,)))
    assert not is_covered(clause(patterns=(SHADOW, KEY)), clause(patterns=(ETC,)))


def test_other_event_types_do_not_matter() -> None:
    """Event types that the rules don't select can't be missing."""
    now = PushdownFilter(frozenset({Clause("execve")}))
    assert covers(PushdownFilter(frozenset({clause(ROOT)})), now, "openat")
    assert not covers(PushdownFilter(frozenset({clause(ROOT)})), now, "execve")


def test_what_a_batch_reports_is_read_or_is_nothing() -> None:
    """Invalid data from a compromised host is ignored."""
    pushdown_filter = PushdownFilter(frozenset({clause(ROOT, patterns=(ETC,))}))
    assert read_filter(zlib.compress(encode_filter(pushdown_filter))) == pushdown_filter
    for reported in (b"", b"x", zlib.compress(b"{}"), zlib.compress(b" " * (64 << 20))):
        assert read_filter(reported) is None
