"""Hostile text made safe to print.

File names, arguments and labels come from whoever is attacking the host: they may hold terminal escapes, newlines that
forge a second log line, text direction marks, and bytes that are no text at all.
"""

import re

_SPECIAL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
INDENT = "    "
"""Before each line of a message behind its first."""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Give a text that stays on its line and moves no cursor.

    Controls, direction marks and undecodable bytes become \n, \x1b, \u202e ...; what can be read is left as it is,
    the backslash included, since that is common in paths and arguments.
    """
    return text if text.isprintable() else _SPECIAL.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """Return a text of several lines that can't be taken for several messages.

    Each line is made printable, and those behind the first are indented: whatever a text quotes, a line break in it
    begins no message of its own. Done twice, it changes nothing.
    """
    first, *others = text.split("\n")
    return "\n".join([printable(first), *(INDENT + printable(line).removeprefix(INDENT) for line in others)])


def _escaped(match: re.Match[str]) -> str:
    char = match.group()
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:
        # A byte that wasn't UTF-8, as "surrogateescape" keeps it.
        number -= 0xDC00
    if char in _SHORT:
        return _SHORT[char]
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
