r"""Translates Sigma's regular expressions, which search in a value, into those of Lanner, which match all of it.

Sigma uses RE2 in Perl's syntax. Lanner uses RE2 in POSIX syntax: it has no ``\d``, ``(?:...)``, flags or lazy
repetition, and ``^`` and ``$`` match at each line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from foundation.errors import LannerError

Ranges: TypeAlias = tuple[tuple[int, int], ...]

_LAST = 0x10FFFF
_ANY = "(.|\n)*"
_PERL: dict[str, Ranges] = {
    "d": ((0x30, 0x39),),
    "s": ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20)),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
}
"""Source: RE2's syntax.txt."""
_POSIX: dict[str, Ranges] = {
    "alnum": ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)),
    "alpha": ((0x41, 0x5A), (0x61, 0x7A)),
    "blank": ((0x09, 0x09), (0x20, 0x20)),
    "digit": ((0x30, 0x39),),
    "lower": ((0x61, 0x7A),),
    "punct": ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)),
    "space": ((0x09, 0x0D), (0x20, 0x20)),
    "upper": ((0x41, 0x5A),),
    "word": _PERL["w"],
    "xdigit": ((0x30, 0x39), (0x41, 0x46), (0x61, 0x66)),
}
_CONTROL = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "a": 7}
_SPECIAL = frozenset(".[](){}*+?|^$\\")
_REPEAT = re.compile(r"\{(\d+)(,(\d*))?\}")
_GROUP = re.compile(r"\?(?:P?<[A-Za-z_]\w*>|([ims]*)(?:-([ims]+))?([:)]))")
_HEX = re.compile(r"x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2}))")
_MAX_BRANCHES = 64


class UnsupportedRegex(LannerError, ValueError):
    """Raised for an expression that Lanner's syntax can't express."""


@dataclass(frozen=True, slots=True)
class Characters:
    """One character out of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Anchor:
    """The start or the end of the text, or of a line."""

    sign: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Alternatives, each of which is a sequence."""

    branches: tuple[tuple["Part", ...], ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part that occurs several times."""

    part: "Part"
    least: int
    most: int | None


Part: TypeAlias = Characters | Anchor | Choice | Repeat


def to_lanner(pattern: str, flags: str = "") -> str:
    """Return an expression in POSIX syntax that matches all of a text in which a pattern of RE2 is found.

    flags: of ``i``, ``m`` and ``s``. Raises UnsupportedRegex if the pattern uses what has no equivalent.
    """
    reader = _Reader(pattern, flags)
    tree = reader.read()
    if reader.has_lines:
        return f"{_ANY}{_text(tree)}{_ANY}"
    return "|".join(_searched(branch) for branch in _edges(tree.branches))


def _searched(branch: Sequence[Part]) -> str:
    start, end = _is_anchor(branch[:1], "^"), _is_anchor(branch[-1:], "$")
    inner = branch[start : len(branch) - end if end else None]
    if any(_has_anchor(part) for part in inner):
        raise UnsupportedRegex("'^' or '$' inside of a regular expression")
    return "".join(("" if start else _ANY, *map(_text, inner), "" if end else _ANY))


def _edges(branches: tuple[tuple[Part, ...], ...]) -> list[tuple[Part, ...]]:
    """Multiply groups at the edges out, so that each anchor is at the start or the end of an alternative."""
    found: list[tuple[Part, ...]] = []
    open_branches = list(reversed(branches))
    while open_branches:
        branch = open_branches.pop()
        for index in (0, len(branch) - 1) if branch else ():
            group = branch[index]
            if isinstance(group, Choice) and _has_anchor(group):
                open_branches += [(*branch[:index], *inner, *branch[index + 1 :]) for inner in reversed(group.branches)]
                break
        else:
            found.append(branch)
            continue
        if len(open_branches) + len(found) > _MAX_BRANCHES:
            raise UnsupportedRegex("too many alternatives with '^' or '$'")
    return found


def _is_anchor(parts: Sequence[Part], sign: str) -> bool:
    return bool(parts) and parts[0] == Anchor(sign)


def _has_anchor(part: Part) -> bool:
    if isinstance(part, Choice):
        return any(_has_anchor(inner) for branch in part.branches for inner in branch)
    return isinstance(part, Anchor) or (isinstance(part, Repeat) and _has_anchor(part.part))


def _text(part: Part) -> str:
    if isinstance(part, Anchor):
        return part.sign
    if isinstance(part, Characters):
        return _class(part.ranges)
    if isinstance(part, Repeat):
        counts = {(0, None): "*", (1, None): "+", (0, 1): "?"}
        most = "" if part.most is None else part.most
        exact = f"{{{part.least}}}" if part.least == part.most else f"{{{part.least},{most}}}"
        return _text(part.part) + counts.get((part.least, part.most), exact)
    return f"({'|'.join(''.join(map(_text, branch)) for branch in part.branches)})"


def _class(ranges: Ranges) -> str:
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        character = chr(ranges[0][0])
        return f"\\{character}" if character in _SPECIAL else character
    if ranges == ((0, _LAST),):
        return "(.|\n)"
    if ranges == ((0, 9), (11, _LAST)):
        return "."
    is_negated = ranges[0][0] == 0 and ranges[-1][1] == _LAST
    shown = _complement(ranges) if is_negated else ranges
    inner = "".join(_end(low) if low == high else f"{_end(low)}-{_end(high)}" for low, high in shown)
    return f"[{'^' if is_negated else ''}{inner}]"


def _end(code: int) -> str:
    character = chr(code)
    if code < 0x20 or code == 0x7F or code > 0xFFFF or 0xD800 <= code <= 0xDFFF:
        return f"\\x{{{code:x}}}"
    return f"\\{character}" if character in "\\]^-[" else character


def _union(ranges: Sequence[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: Sequence[tuple[int, int]]) -> Ranges:
    found, start = [], 0
    for low, high in _union(ranges):
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    return (*found, (start, _LAST)) if start <= _LAST else tuple(found)


def _folded(ranges: Sequence[tuple[int, int]]) -> Ranges:
    """Add the other case of ASCII characters."""
    more = list(ranges)
    for low, high in ranges:
        for first, last, other in ((0x41, 0x5A, 32), (0x61, 0x7A, -32)):
            if max(low, first) <= min(high, last):
                more.append((max(low, first) + other, min(high, last) + other))
    return _union(more)


class _Reader:
    """Reads an expression in the syntax of RE2."""

    def __init__(self, pattern: str, flags: str) -> None:
        self._text = pattern
        self._at = 0
        self._flags = frozenset(flags)
        self.has_lines = "m" in flags

    def read(self) -> Choice:
        tree = self._choice()
        if self._at < len(self._text):
            raise UnsupportedRegex(f"unexpected '{self._text[self._at]}' in a regular expression")
        return tree

    def _choice(self) -> Choice:
        outer = self._flags
        branches: list[tuple[Part, ...]] = []
        parts: list[Part] = []
        while self._at < len(self._text) and self._text[self._at] != ")":
            letter = self._text[self._at]
            self._at += 1
            if letter == "|":
                branches.append(tuple(parts))
                parts = []
            elif (part := self._part(letter)) is not None:
                parts.append(self._repeated(part))
        self._flags = outer
        return Choice((*branches, tuple(parts)))

    def _part(self, letter: str) -> Part | None:
        if letter == "(":
            return self._group()
        if letter == "[":
            return self._set()
        if letter == ".":
            return Characters(((0, _LAST),) if "s" in self._flags else ((0, 9), (11, _LAST)))
        if letter in "^$":
            return Anchor(letter)
        if letter == "\\":
            return self._escape()
        if letter in "*+?":
            raise UnsupportedRegex(f"'{letter}' repeats nothing in a regular expression")
        return self._characters(((ord(letter), ord(letter)),))

    def _characters(self, ranges: Sequence[tuple[int, int]]) -> Characters:
        return Characters(_folded(ranges) if "i" in self._flags else _union(ranges))

    def _group(self) -> Part | None:
        outer = self._flags
        if self._text.startswith("?", self._at):
            match = _GROUP.match(self._text, self._at)
            if match is None:
                raise UnsupportedRegex("'(?' with an unknown meaning in a regular expression")
            self._at = match.end()
            added, removed, end = match.groups()
            self._flags = (self._flags | set(added or "")) - set(removed or "")
            self.has_lines = self.has_lines or "m" in self._flags
            if end == ")":
                return None
        inner = self._choice()
        if not self._text.startswith(")", self._at):
            raise UnsupportedRegex("')' is missing in a regular expression")
        self._at += 1
        self._flags = outer
        return inner

    def _repeated(self, part: Part) -> Part:
        while self._at < len(self._text):
            letter = self._text[self._at]
            match = _REPEAT.match(self._text, self._at) if letter == "{" else None
            if match is not None:
                least, has_most, most = int(match[1]), match[2], match[3]
                limit = least if not has_most else int(most) if most else None
                self._at = match.end()
            elif letter in "*+?":
                least, limit = (1 if letter == "+" else 0), (1 if letter == "?" else None)
                self._at += 1
            else:
                break
            part = Repeat(part, least, limit)
            # A lazy repetition finds the same texts.
            self._at += self._text.startswith("?", self._at)
        return part

    def _escape(self) -> Part:
        letter = self._text[self._at : self._at + 1]
        self._at += 1
        if letter.lower() in _PERL and letter:
            found = _PERL[letter.lower()]
            return Characters(found if letter.islower() else _complement(found))
        if letter == "A":
            return Anchor("^")
        if letter == "z":
            return Anchor("$")
        self._at -= 1
        code = self._escaped()
        return self._characters(((code, code),))

    def _escaped(self) -> int:
        """Read what follows a backslash as one character."""
        if (match := _HEX.match(self._text, self._at)) is not None:
            self._at = match.end()
            return int(match[1] or match[2], 16)
        letter = self._text[self._at : self._at + 1]
        self._at += 1
        if letter in _CONTROL and letter:
            return _CONTROL[letter]
        if not letter or letter.isalnum():
            raise UnsupportedRegex(f"'\\{letter}' in a regular expression")
        return ord(letter)

    def _set(self) -> Characters:
        is_negated = self._text.startswith("^", self._at)
        self._at += is_negated
        ranges: list[tuple[int, int]] = []
        start = self._at
        while self._at < len(self._text) and (self._text[self._at] != "]" or self._at == start):
            ranges += self._member()
        if self._at >= len(self._text):
            raise UnsupportedRegex("']' is missing in a regular expression")
        self._at += 1
        folded = _folded(ranges) if "i" in self._flags else _union(ranges)
        return Characters(_complement(folded) if is_negated else folded)

    def _member(self) -> Sequence[tuple[int, int]]:
        if (named := re.compile(r"\[:(\^?)(\w+):\]").match(self._text, self._at)) is not None:
            self._at = named.end()
            if named[2] not in _POSIX:
                raise UnsupportedRegex(f"'{named[0]}' in a regular expression")
            return _complement(_POSIX[named[2]]) if named[1] else _POSIX[named[2]]
        if self._text[self._at] == "\\" and (letter := self._text[self._at + 1 : self._at + 2]).lower() in _PERL:
            self._at += 2
            return _PERL[letter] if letter.islower() else _complement(_PERL[letter.lower()])
        low = self._single()
        if self._text.startswith("-", self._at) and self._text[self._at + 1 : self._at + 2] not in ("", "]"):
            self._at += 1
            return ((low, self._single()),)
        return ((low, low),)

    def _single(self) -> int:
        letter = self._text[self._at]
        self._at += 1
        return self._escaped() if letter == "\\" else ord(letter)


_LIKED = "ax0 /-_."
_MOST = 300


def sample(pattern: str) -> str:
    """Return a short text that matches a pattern; its first alternative, with the fewest repetitions."""
    return _samples_text(_Reader(pattern, "").read())[:_MOST]


def _samples_text(part: Part) -> str:
    if isinstance(part, Choice):
        return "".join(map(_samples_text, part.branches[0]))
    if isinstance(part, Repeat):
        return _samples_text(part.part) * part.least
    if isinstance(part, Characters):
        liked = (letter for letter in _LIKED if any(low <= ord(letter) <= high for low, high in part.ranges))
        return next(liked, chr(part.ranges[0][0]))
    assert isinstance(part, Anchor)  # noqa: S101
    return ""
