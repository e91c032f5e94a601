import pytest

from lanner.console.fleet.ports import has_name


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("web-1.example", "", True),
        ("web-1.example", "EXAMPLE", True),
        ("web-1.example", "db", False),
        ("web-1.example", "web-*", True),
        ("web-1.example", "*.example", True),
        ("web-1.example", "w*1*e", True),
        ("web-1.example", "web", True),
        ("web-1.example", "eb-*", False),
        ("web-1.example", "web-*.exam", False),
        ("aba", "ab*ba", False),
        ("a.c", "a?c*", False),
        ("[x]", "[*]", True),
    ],
)
def test_a_pattern_selects_names(name: str, pattern: str, expected: bool) -> None:
    """Only `*` is special."""
    assert has_name(name, pattern) is expected


def test_a_hostile_pattern_takes_no_time() -> None:
    """Whoever can open the page can choose it; by trying all ways to match it, this would never end."""
    for _ in range(1000):
        assert not has_name("a" * 250, "*a" * 99 + "b*")
