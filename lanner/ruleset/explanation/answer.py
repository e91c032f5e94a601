"""The answer to whether a rule matches an event: yes, no with what decided it, or unknown with what is lacking."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lanner.ruleset.explanation.text import shown_value
from processor.detection.explain import Explained, Verdict
from schemas.text.printable import printable

Kind = Literal["matches", "does not match", "can't tell"]

_MOST_REASONS = 3
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether a rule matches an event, and why."""

    kind: Kind
    tree: Explained
    reasons: tuple[str, ...]
    """Why it doesn't match: the checks that decided it."""
    lacking: tuple[str, ...]
    """The fields without which it isn't known."""

    @property
    def matches(self) -> bool | None:
        """Whether it matches; None if that isn't known."""
        return {"matches": True, "does not match": False}.get(self.kind)

    def sentence(self) -> str:
        """Return the answer with its reasons."""
        if self.kind == "can't tell":
            return f"can't tell: the event as passed doesn't carry {', '.join(map(printable, self.lacking))}"
        more = f" (and {len(self.reasons) - _MOST_REASONS} more)" if len(self.reasons) > _MOST_REASONS else ""
        because = "; ".join(self.reasons[:_MOST_REASONS])
        return f"{self.kind}: {because}{more}" if because else self.kind


def answer(tree: Explained, event_types: frozenset[str], event_type: object) -> Explanation:
    """Return the answer for an explained condition.

    Args:
        tree: the condition for an event.
        event_types: the types for which the rule is evaluated.
        event_type: the event's type; None if it has none.
    """
    if isinstance(event_type, str) and event_type not in event_types:
        reason = f"it isn't evaluated for events of type {printable(event_type)}"
        return Explanation("does not match", tree, (reason,), ())
    if tree.verdict is Verdict.UNKNOWN or (tree.is_true and event_type is None):
        lacking = dict.fromkeys(([] if event_type is not None else ["evt.type"]) + list(_lacking(tree)))
        return Explanation("can't tell", tree, (), tuple(lacking))
    if tree.is_true:
        return Explanation("matches", tree, (), ())
    return Explanation("does not match", tree, tuple(dict.fromkeys(map(_reason, _deciding(tree)))), ())


def _lacking(tree: Explained) -> Iterator[str]:
    """Yield the fields of the unknown checks that could decide it."""
    if tree.verdict is Verdict.UNKNOWN:
        yield from tree.unknown
        for child in tree.children:
            yield from _lacking(child)


def _deciding(tree: Explained) -> list[tuple[str, Explained]]:
    """Return the fewest checks that made a node what it is, each with what contains it if that is an exception."""
    if tree.kind == "check":
        return [("", tree)]
    if tree.kind == "exception" and not tree.is_true:
        return [(f"exception '{tree.text}' applies: ", each) for _, each in _deciding(tree.children[0])]
    decided = [child for child in tree.children if child.verdict is not Verdict.UNKNOWN]
    same = [child for child in decided if child.is_true == tree.is_true] or decided
    found = [_deciding(child) for child in same]
    if (tree.kind == "and" and not tree.is_true) or (tree.kind == "or" and tree.is_true):
        return min(found, key=len)
    return [each for part in found for each in part]


def _reason(item: tuple[str, Explained]) -> str:
    before, check = item
    values = ", ".join(f"{name} = {shown_value(value)}" for name, value in check.values)
    text = printable(check.text)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return f"{before}{text} is {check.verdict.value}" + (f" [{values}]" if values else "")
