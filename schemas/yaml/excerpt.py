"""Shows a place in a file as text: the line, with the place underlined.

Files may be untrusted: whatever they contain, the result is printable.
"""

from typing import TypeAlias
from unicodedata import east_asian_width

from schemas.yaml.source import SourceLocation

Span: TypeAlias = tuple[int, int]

_TAB = "    "
_SHOWN_TAB = "\u2192   "
"""A tab that is the problem itself."""


def visible(text: str) -> str:
    """Return a text without characters that a terminal or a log would interpret; a tab becomes four blanks."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def excerpt(location: SourceLocation, tone: str = "", end: str = "") -> list[str]:
    """Return the line of a location and a line that underlines it; empty for a location without a line.

    Args:
        location: the place.
        tone: escape sequence before the underline.
        end: escape sequence after it.
    """
    if not location.line or not location.text:
        return []
    start = max(location.column - 1 - location.text_start, 0)
    number = str(location.line)
    margin = " " * len(number)
    before = visible(location.text[:start])
    marked = visible(location.text[start : start + location.width].replace("\t", _SHOWN_TAB))
    after = visible(location.text[start + location.width :])
    under = " " * _columns(before) + "^" * max(1, _columns(marked))
    return [f"  {number} | {before}{marked}{after}", f"  {margin} | {tone}{under}{end}"]


def _escaped(char: str) -> str:
    code = ord(char)
    if char == "\t":
        return _TAB
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)
