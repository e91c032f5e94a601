"""The tokens of an output whose values come from a window: ``%correlation``, and fields that correlation computes.

The text is cut at the tokens: its pieces are filled in at detection, the tokens at correlation. So no value of an
event can be taken for a token.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from foundation.yaml.text import Span
from processor.language.tokens import SpanError
from schemas.catalog.fields import field_problem

What = Literal["count", "group", "first", "last", "values", "leg", "hosts", "since"]

NAMES: tuple[What, ...] = ("count", "group", "first", "last", "values", "leg")
DIGEST = "proc.exe.sha256"
"""The only group-by field of macros of type prevalence that give PREVALENCE_FIELDS their values."""
PREVALENCE_FIELDS: Mapping[str, What] = {"proc.exe.hosts": "hosts", "proc.exe.first_seen": "since"}
_PREVALENCE = r"%(proc\.exe\.(?:hosts|first_seen))(?![A-Za-z0-9_\[]|\.[A-Za-z])"
_START = re.compile(rf"%correlation\b|{_PREVALENCE}")
_TOKEN = re.compile(
    r"%correlation\.(?:group(?![A-Za-z0-9_])|(count|first|last|values)(?![A-Za-z0-9_])(?:\[([A-Za-z0-9_]+)\])?"
    r"|leg\[([A-Za-z0-9_]+)\]\.([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*(?:\[[^\]]*\])?))"
    rf"|{_PREVALENCE}"
)
FORMS = (
    f"%correlation is followed by {', '.join('.' + name for name in NAMES[:-1])} or .leg[NAME].FIELD; "
    "of several macros, .count[MACRO] names one"
)


@dataclass(frozen=True, slots=True)
class WindowToken:
    """One value of a window to fill in."""

    what: What
    span: Span
    leg: str = ""
    field: str = ""
    macro: str = ""
    """The stateful macro whose window it is; empty for the first one that the event made true."""

    @property
    def key(self) -> str:
        """Its name among an alert's output fields."""
        if self.field in PREVALENCE_FIELDS and not self.leg:
            return self.field
        if self.what == "leg":
            return f"correlation.leg[{self.leg}].{self.field}"
        return f"correlation.{self.what}[{self.macro}]" if self.macro else f"correlation.{self.what}"


class BadWindowToken(SpanError):
    """A ``%correlation`` is not a known token."""


def tokens_of(output: str) -> Iterator[WindowToken]:
    """Find all tokens of an output. Raises BadWindowToken if what follows ``%correlation`` is none."""
    for start in _START.finditer(output):
        match = _TOKEN.match(output, start.start())
        if match is None:
            end = start.end() + len(re.match(r"[^\s,)%]*", output[start.end() :]).group())  # type: ignore[union-attr]
            raise BadWindowToken(f"invalid formatting token {output[start.start() + 1 : end]}", (start.start(), end))
        simple, macro, leg, field, computed = match.groups()
        if computed is not None:
            yield WindowToken(PREVALENCE_FIELDS[computed], match.span(), field=computed)
            continue
        if leg is not None and (wrong := field_problem(field)) is not None:
            raise BadWindowToken(wrong, match.span(4))
        what = next(name for name in NAMES if name == (simple or ("group" if leg is None else "leg")))
        yield WindowToken(what, match.span(), leg or "", field or "", macro or "")


def without_tokens(output: str) -> str:
    """Replace all tokens by filler of the same length, so that the rest can be read as Falco's."""
    return _TOKEN.sub(lambda match: "-" * len(match.group()), output)


def pieces(output: str) -> tuple[tuple[str, ...], tuple[WindowToken, ...]]:
    """Cut an output at its tokens: there is one piece more than tokens. Raises BadWindowToken."""
    tokens = tuple(tokens_of(output))
    starts = [0, *(token.span[1] for token in tokens)]
    ends = [*(token.span[0] for token in tokens), len(output)]
    return tuple(output[start:end] for start, end in zip(starts, ends, strict=True)), tokens


MISSING = "<NA>"
