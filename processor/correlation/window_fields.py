"""The ``%correlation`` tokens of an output, whose values come from a window.

The text is cut where they stand: its pieces are filled in at detection, the tokens at correlation. What
an event holds can so never be taken for a token.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from processor.correlation.windows.outcome import Fired
from processor.language.ast import Span
from schemas.alert import Value
from schemas.catalogue.fields import field_problem
from schemas.errors import LannerError
from schemas.text.times import iso8601_zulu

What = Literal["count", "group", "first", "last", "values", "leg"]

NAMES: tuple[What, ...] = ("count", "group", "first", "last", "values", "leg")
MISSING = "<NA>"
AT_LEAST = "correlation.at_least"
"""The output field of an alert whose window would count more events, which were left out."""
_START = re.compile(r"%correlation\b")
_TOKEN = re.compile(
    r"%correlation\.(?:(count|group|first|last|values)(?![A-Za-z0-9_])"
    r"|leg\[([A-Za-z0-9_]+)\]\.([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*(?:\[[^\]]*\])?))"
)
FORMS = f"%correlation is followed by {', '.join('.' + name for name in NAMES[:-1])} or .leg[NAME].FIELD"


@dataclass(frozen=True, slots=True)
class WindowToken:
    """One value of a window to fill in."""

    what: What
    span: Span
    leg: str = ""
    field: str = ""

    @property
    def key(self) -> str:
        """Its name among an alert's output fields."""
        return f"correlation.leg[{self.leg}].{self.field}" if self.what == "leg" else f"correlation.{self.what}"


class BadWindowToken(LannerError, ValueError):
    """A ``%correlation`` that is none."""

    def __init__(self, message: str, span: Span) -> None:
        super().__init__(message)
        self.message = message
        self.span = span


def tokens_of(output: str) -> Iterator[WindowToken]:
    """Find all tokens of an output.

    Raises:
        BadWindowToken: what follows ``%correlation`` is not a known token.
    """
    for start in _START.finditer(output):
        match = _TOKEN.match(output, start.start())
        if match is None:
            end = start.end() + len(re.match(r"[^\s,)%]*", output[start.end() :]).group())  # type: ignore[union-attr]
            raise BadWindowToken(f"invalid formatting token {output[start.start() + 1 : end]}", (start.start(), end))
        simple, leg, field = match.groups()
        if simple is None and (wrong := field_problem(field)) is not None:
            raise BadWindowToken(wrong, match.span(3))
        what = next(name for name in NAMES if name == (simple or "leg"))
        yield WindowToken(what, match.span(), leg or "", field or "")


def without_tokens(output: str) -> str:
    """Put filler of the same length in the place of all tokens, so that the rest can be read as Falco's."""
    return _TOKEN.sub(lambda match: "-" * len(match.group()), output)


def pieces(output: str) -> tuple[tuple[str, ...], tuple[WindowToken, ...]]:
    """Cut an output at its tokens: there is one piece more than tokens.

    Raises:
        BadWindowToken: as tokens_of.
    """
    tokens = tuple(tokens_of(output))
    starts = [0, *(token.span[1] for token in tokens)]
    ends = [*(token.span[0] for token in tokens), len(output)]
    return tuple(output[start:end] for start, end in zip(starts, ends, strict=True)), tokens


def filled(
    texts: Sequence[str],
    tokens: Sequence[WindowToken],
    fired: Fired | None,
    group: Sequence[str | None],
    *,
    is_partial: bool = False,
) -> tuple[str, dict[str, Value]]:
    """Put the tokens' values between the pieces; return the text, and the values by their keys.

    Args:
        texts: the pieces, filled in.
        tokens: those between them.
        fired: the window; None if no window had to be met.
        group: the values of the group.
        is_partial: whether events that the window would count were left out.
    """
    values: dict[str, Value] = {AT_LEAST: True} if is_partial and fired is not None else {}
    parts = [texts[0]]
    for token, text in zip(tokens, texts[1:], strict=True):
        value = _value(token, fired, group)
        values[token.key] = value
        at_least = "at least " if AT_LEAST in values and token.what == "count" else ""
        parts += [at_least + _shown(token, value), text]
    return "".join(parts), values


def group_text(group: Sequence[str | None]) -> str:
    """Write a group's values as one text."""
    return ", ".join(MISSING if value is None else value for value in group)


def leg_values(fired: Fired) -> Mapping[str, Mapping[str, Value]]:
    """Return each leg's event: its time, its host, and the fields that outputs name."""
    return {name: {"evt.time": seen.time, "evt.hostname": seen.hostname, **seen.stored} for name, seen in fired.legs}


def _value(token: WindowToken, fired: Fired | None, group: Sequence[str | None]) -> Value:
    if token.what == "group":
        return group_text(group)
    if fired is None:
        return None
    if token.what == "leg":
        return leg_values(fired).get(token.leg, {}).get(token.field)
    if token.what == "values":
        return fired.values
    value: int = getattr(fired, token.what)
    return value


def _shown(token: WindowToken, value: Value) -> str:
    if value is None:
        return MISSING
    if isinstance(value, int) and (token.what in ("first", "last") or token.field in ("evt.time", "evt.rawtime")):
        return iso8601_zulu(value)
    if isinstance(value, tuple):
        return ", ".join(value)
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
