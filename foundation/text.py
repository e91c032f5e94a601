"""Make untrusted text safe to print, and write texts for people.

An attacker can choose file names, arguments and labels: they may contain terminal escapes, newlines that forge a second
log line, text direction marks, and undecodable bytes.
"""

import re
import socket
from collections.abc import Iterable
from typing import Literal, Protocol

from foundation.caches import cache_short_texts

_MANY = 1000


def is_like(text: str, pattern: str) -> bool:
    """Return whether a whole text is like a pattern, in which `*` matches any text."""
    # Consecutive stars are equivalent to one, but would take exponential time.
    parts = re.sub(r"\*+", "*", pattern).split("*")
    return re.fullmatch(".*".join(map(re.escape, parts)), text, re.DOTALL) is not None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint with the closest known name; empty if none is close."""
    names = list(known)
    if len(names) > _MANY or len(name) > 200:
        return ""
    # Imported here, because hints are for errors alone.
    from difflib import get_close_matches  # noqa: PLC0415

    nearest = get_close_matches(name, names, n=1, cutoff=0.7)
    return f"did you mean '{nearest[0]}'?" if nearest else ""


@cache_short_texts(65536)
def canonical_address(text: str) -> str | None:
    """Return an address in the kernel's notation; None if the text is not an address."""
    family = socket.AF_INET if "." in text and ":" not in text else socket.AF_INET6
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        return None


_PRINTED = dict.fromkeys(range(256), ".") | {code: chr(code) for code in range(0x20, 0x7F)}


def printed(data: bytes) -> str:
    """Return bytes as text, with a dot for each that can't be printed."""
    return data.decode("latin-1").translate(_PRINTED)


def shown_buffer(data: str | None) -> str | None:
    """Return evt.buffer as output prints it."""
    return None if data is None else printed(data.encode("utf-8", "surrogateescape"))


def count_of(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 rule`` or ``1,234 rules``. plural: if it does not end in s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


Level = Literal["info", "warning", "error"]


class OnNote(Protocol):
    """Receives a message for the operator."""

    def __call__(self, text: str, level: Level = "info", /) -> None:
        """Show or log the message."""


def ignore_note(text: str, level: Level = "info", /) -> None:
    """Show the message to nobody."""


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


_FORMULAS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001  as East Asian editions of spreadsheets read them
"""The first characters by which spreadsheets take a text for a formula."""


def csv_cell(text: str) -> str:
    """Return a text as a cell of CSV: printable, with an apostrophe before what a spreadsheet takes for a formula."""
    return printable(f"'{text}" if text.startswith(_FORMULAS) else text)


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
