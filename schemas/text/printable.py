"""Make untrusted text safe to print.

An attacker can choose file names, arguments and labels: they may hold terminal escapes, newlines that forge a second
log line, text direction marks, and undecodable bytes.
"""

import re

_SPECIAL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
INDENT = "    "
"""Precedes each line of a message after the first."""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Return a text with control characters escaped, so that it stays on one line and moves no cursor.

    Controls, direction marks and undecodable bytes become \n, \x1b, \u202e ...; printable characters are unchanged,
    including the backslash, which is common in paths and arguments.
    """
    return text if text.isprintable() else _SPECIAL.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """Return a text of several lines that can't be mistaken for several messages.

    Each line is made printable, and the lines after the first are indented, so a line break in quoted text can't begin
    another message. The function is idempotent.
    """
    first, *others = text.split("\n")
    indent = "" if all(line.startswith(INDENT) for line in others) else INDENT
    return "\n".join([printable(first), *(indent + printable(line) for line in others)])


def _escaped(match: re.Match[str]) -> str:
    char = match.group()
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:
        # An undecodable byte, as "surrogateescape" represents it.
        number -= 0xDC00
    if char in _SHORT:
        return _SHORT[char]
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
