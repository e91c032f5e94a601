import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from lanner.sigma.regex import UnsupportedRegex, to_lanner
from processor.compiler.operators import predicate

PATTERNS = (
    *(r"-D", r"^a", r"b$", r"^ab$", r"a|^b|c$", r"(^|/)\.[^./]", r"(a|b$)", r"(?:\s-[^-\s]{0,20}i|\s--inode\s)"),
    *(r"(.){3,}", r"[0-9]{1,3}\.[0-9]", r"a.b", r"(?s)a.b", r"(?i)aB[c-e]", r"a(?i:b)a", r"x*?y+?", r"(?P<n>a)b"),
    *(
        r"\d+\W",
        r"[\w-]+",
        r"[^\d\s]x",
        r"\x41\x{42}",
        r"[]a]",
        r"[^]a]",
        r"a{2}",
        r"\/\.\-",
        r"[[:alpha:]]\S",
        r"(?m)^b$",
    ),
    *(r"[a\-c]", r"\t|\n", r"(a|(b|^c)d)", r"\Aab\z", r"()", r"a||b", r"[[:^digit:]]", r"é[à-ü]", r"(?m)^b$"),
)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(alphabet="aAbBcde xyé0àü9./-\n\t]i", max_size=12))
def test_the_translation_finds_what_the_pattern_finds(pattern: str, text: str) -> None:
    """Lanner's operator matches a whole value exactly if Sigma's search finds the pattern in it."""
    found = re2.compile(pattern).search(text) is not None
    assert predicate("regex", "CHARBUF", [to_lanner(pattern)])(text) is found


@pytest.mark.parametrize(
    ("flags", "text", "is_found"),
    [("", "xAb", False), ("i", "xAb", True), ("is", "xa\nB", True), ("m", "x\nab\ny", True), ("", "x\nab\ny", False)],
)
def test_flags_count(flags: str, text: str, is_found: bool) -> None:
    """`i` ignores case, `s` lets a dot match a line's end, `m` lets anchors match at lines."""
    pattern = "a.B" if "s" in flags else "^ab$" if "\n" in text else "ab"
    assert predicate("regex", "CHARBUF", [to_lanner(pattern, flags)])(text) is is_found


@pytest.mark.parametrize("pattern", [r"\bx", r"a^b", r"(a$)+", r"\pL", r"(?=a)", "[[:odd:]]", "a)", "(a", "[a", "*a"])
def test_what_has_no_translation_is_refused(pattern: str) -> None:
    """Rather than a rule that matches something else."""
    with pytest.raises(UnsupportedRegex):
        to_lanner(pattern)
