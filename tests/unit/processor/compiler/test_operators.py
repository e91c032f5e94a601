import re

import pytest

from processor.compiler.operands import BadLiteral, parse_literal
from processor.compiler.operators import full_match, glob_expression, predicate


@pytest.mark.parametrize(
    ("operator", "kind", "text", "value", "verdict"),
    [
        ("=", "CHARBUF", "a", "a", True),
        ("contains", "CHARBUF", "\udcc3", "é", True),
        ("startswith", "CHARBUF", "\udcc3", "é", True),
        ("endswith", "CHARBUF", "\udca9", "é", True),
        ("icontains", "CHARBUF", "SHAD", "/etc/shadow", True),
        ("glob", "FSPATH", "/etc/*", "/etc/a/b", True),
        ("glob", "FSPATH", "/etc/[!s]*", "/etc/shadow", False),
        ("glob", "FSPATH", "/etc/[s]hadow", "/etc/shadow", True),
        ("glob", "FSPATH", r"/a\*", "/a*", True),
        ("glob", "FSPATH", "?", "é", False),
        ("glob", "FSPATH", "??", "é", True),
        ("glob", "FSPATH", "[", "[", True),
        ("glob", "FSPATH", "a[]b]c", "a]c", True),
        ("glob", "FSPATH", "[[:digit:]]x", "7x", True),
        ("glob", "FSPATH", "*a*b", "xaxxb", True),
        ("glob", "FSPATH", "*.so*", "/lib/x.so.6", True),
        ("iglob", "FSPATH", "/ETC/*", "/etc/x", True),
        ("regex", "CHARBUF", "b", "abc", False),
        ("regex", "CHARBUF", "a.c", "a\udcffc", True),
        ("regex", "CHARBUF", "a.c", "a\udce1\udc80c", True),
        ("regex", "CHARBUF", "a...c", "a\udced\udca0\udc80c", True),
        ("bcontains", "BYTEBUF", "656c6C", "hello", True),
        ("bstartswith", "BYTEBUF", "c3", "é", True),
        ("<", "CHARBUF", "2", "10", True),
        (">", "INT64", "9", 10, True),
        ("=", "IPADDR", "0:0:0:0:0:0:0:1", "::1", True),
        ("=", "IPNET", "10.1.2.3/8", "10.9.9.9", True),
        ("!=", "IPNET", "2001:db8::/32", "10.9.9.9", True),
        ("=", "PORT", "ssh", 22, True),
        ("=", "UINT32", "-1", 4294967295, True),
    ],
)
def test_an_operator_compares_a_value(operator: str, kind: str, text: str, value: object, verdict: bool) -> None:
    """The value is compared with the literal; texts are compared by bytes."""
    assert predicate(operator, kind, [text])(value) is verdict


@pytest.mark.parametrize(
    ("roots", "path", "verdict"),
    [
        (["/etc"], "/etc/shadow", True),
        (["/etc/"], "/etc", True),
        (["/et"], "/etc/shadow", False),
        (["/e*/shadow"], "/etc/shadow", True),
        (["/a", "/etc/s*"], "/etc/shadow", True),
        (["/etc/shadow/x"], "/etc/shadow", False),
        ([""], "/anything", True),
        ([], "/anything", False),
    ],
)
def test_pmatch_goes_by_path_components(roots: list[str], path: str, verdict: bool) -> None:
    """A path matches below a root whose components may be patterns."""
    assert predicate("pmatch", "FSPATH", roots)(path) is verdict


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("BOOL", "yes"),
        ("INT64", "1.5"),
        ("INT64", "1a"),
        ("PORT", "no-such-service"),
        ("IPADDR", "10.0.0"),
        ("IPNET", "10.0.0.1"),
        ("IPNET", "10.0.0.0/33"),
        ("CHARBUF", "a\0b"),
        ("CHARBUF", "x" * 256),
        ("SOCKTUPLE", "1"),
    ],
)
def test_a_literal_that_the_type_cannot_have_is_refused(kind: str, text: str) -> None:
    """The message quotes the value."""
    with pytest.raises(BadLiteral):
        parse_literal(text, kind)


def test_a_literal_of_255_bytes_is_taken() -> None:
    """The limit counts bytes, not characters."""
    assert parse_literal("x" * 255, "CHARBUF") == "x" * 255
    with pytest.raises(BadLiteral):
        parse_literal("é" * 128, "CHARBUF")


def test_a_broken_regular_expression_is_refused() -> None:
    """POSIX syntax has neither lookahead nor backslash classes."""
    for text in ("(", "(?=a)", r"\d"):
        with pytest.raises(BadLiteral):
            full_match(text)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("step", ["*a", "*?a", "*[a-c]", "[a]*a", r"**\a?"])
def test_a_pattern_of_many_stars_does_not_take_for_ever(step: str) -> None:
    """Nothing is tried twice, whatever is between the stars."""
    pattern = glob_expression(step * 40 + "!")

    assert isinstance(pattern, re.Pattern)
    assert pattern.fullmatch("a" * 4000) is None
    assert pattern.fullmatch("a" * 4000 + "!") is not None


@pytest.mark.timeout(60)
def test_groups_of_a_regular_expression_do_not_slow_it_down() -> None:
    """What they match isn't looked for, which would take minutes here."""
    matches = predicate("regex", "CHARBUF", ["(.|\n)*(.){200,}(.|\n)*"])

    assert matches("a" * 20_000_000)
    assert not matches("a" * 199)
