import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.text import INDENT, printable, printable_lines


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("/etc/passwd", "/etc/passwd"),
        ("größe 文件 \\n", "größe 文件 \\n"),
        ("a\nError forged line", "a\\nError forged line"),
        ("\x1b[2J\x1b]0;x\x07", "\\x1b[2J\\x1b]0;x\\x07"),
        ("\x9b31m", "\\x9b31m"),
        (b"\xff\xfe".decode("utf-8", "surrogateescape"), "\\xff\\xfe"),
        ("\ud800", "\\ud800"),
        ("abc\u202egpj.exe", "abc\\u202egpj.exe"),
        ("a\u2028b\u200bc\ufeff", "a\\u2028b\\u200bc\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_acts_on_a_terminal_is_shown_instead(hostile: str, shown: str) -> None:
    """Escapes, forged lines, text direction and undecodable bytes become visible."""
    assert printable(hostile) == shown


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_becomes_one_line_that_can_be_encoded(text: str) -> None:
    """Nothing splits the line, and nothing fails to encode."""
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")
    assert printable(shown) == shown


@given(st.text(st.characters(codec=None), max_size=200))
def test_a_text_of_several_lines_stays_one_message(text: str) -> None:
    """Only its first line begins at the margin; done twice, nothing changes."""
    lines = printable_lines(text).splitlines()
    assert all(line.startswith(INDENT) for line in lines[1:])
    assert printable_lines(printable_lines(text)) == printable_lines(text)
