"""The answer to whether a rule matches an event: yes, no with what decided it, or unknown with what is lacking."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from foundation.text import printable
from processor.compiler.transformers import as_text
from processor.detection.explain import Explained, Verdict

_COLOURS = {Verdict.TRUE: "32", Verdict.FALSE: "31", Verdict.MISSING: "33", Verdict.UNKNOWN: "35"}
_LONGEST = 100
_WIDTH = max(len(verdict.value) for verdict in Verdict)
_MISSING = "<NA>"


def as_text_tree(tree: Explained, *, expand: bool = False, colour: bool = False, stateful: Collection[str] = ()) -> str:
    """Format a tree, one line per node: its verdict, its text, and the values that decided it.

    Macros are expanded if they prevented the match; `expand` expands all, and omits nothing. stateful: the names of
    stateful macros; the verdict of one is that the event counts, not that enough events do.
    """
    lines = _lines(tree, 0, expand=expand, colour=colour, decides=not tree.is_true, stateful=stateful)
    return "".join(f"{line}\n" for line in lines)


def _lines(
    tree: Explained, depth: int, *, expand: bool, colour: bool, decides: bool, stateful: Collection[str]
) -> Iterator[str]:
    children = () if tree.kind == "check" else tree.children
    is_open = expand or decides or depth == 0 or tree.kind not in ("macro", "exception")
    counts = tree.is_true and tree.kind == "macro" and tree.text in stateful
    mark = ("counts" if counts else tree.verdict.value).ljust(_WIDTH)
    if colour:
        mark = f"\x1b[{_COLOURS[tree.verdict]}m{mark}\x1b[0m"
    yield f"{mark}  {'  ' * depth}{label(tree, whole=expand)}{'' if is_open else ' ...'}"
    if not is_open:
        return
    for child in children:
        is_reason = decides and decides_parent(tree, child)
        yield from _lines(child, depth + 1, expand=expand, colour=colour, decides=is_reason, stateful=stateful)


def decides_parent(parent: Explained, child: Explained) -> bool:
    """Return whether a child is a reason for its parent's verdict."""
    if Verdict.UNKNOWN in (child.verdict, parent.verdict):
        return child.verdict is parent.verdict
    if parent.kind in ("and", "or"):
        return child.is_true == parent.is_true
    return True


def label(tree: Explained, *, whole: bool) -> str:
    """Return what a node is, with the values that a check read. whole: cut no text."""
    match tree.kind:
        case "macro":
            return f"macro {printable(tree.text)}"
        case "exception":
            return f"not exception {printable(tree.text)}"
        case "check":
            values = _values(tree) + ", ".join(f"{name}?" for name in tree.unknown)
            text = printable(tree.text) if whole else _shortened(tree)
            return f"{text}   [{values}]" if values else text
        case _:
            return tree.kind


def shown_value(value: Any) -> str:
    """Format a field's value on one line; <NA> if it is missing."""
    if value is None or value == ():
        return _MISSING
    return printable(as_text(value))


def as_json_tree(tree: Explained) -> dict[str, Any]:
    """Return a tree as plain values; a missing value is null."""
    row: dict[str, Any] = {"kind": tree.kind, "text": tree.text, "verdict": tree.verdict.value}
    if tree.kind == "check":
        row["values"] = {name: list(value) if isinstance(value, tuple) else value for name, value in tree.values}
        if tree.unknown:
            row["unknown"] = list(tree.unknown)
    else:
        row["children"] = [as_json_tree(child) for child in tree.children]
    return row


Kind = Literal["matches", "does not match", "can't tell"]

_MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """The result of a rule for an event, with its reasons."""

    kind: Kind
    tree: Explained
    reasons: tuple[str, ...]
    """Why it doesn't match: the checks that decided it."""
    lacking: tuple[str, ...]
    """The fields without which it isn't known."""

    @property
    def matches(self) -> bool | None:
        """True if it matches, false if it doesn't; None if that isn't known."""
        return {"matches": True, "does not match": False}.get(self.kind)

    def sentence(self) -> str:
        """Return the answer with its reasons."""
        if self.kind == "can't tell":
            return f"can't tell: the event as passed doesn't carry {', '.join(map(printable, self.lacking))}"
        more = f" (and {len(self.reasons) - _MOST_REASONS} more)" if len(self.reasons) > _MOST_REASONS else ""
        because = "; ".join(self.reasons[:_MOST_REASONS])
        return f"{self.kind}: {because}{more}" if because else self.kind


def answer(tree: Explained, event_types: frozenset[str], event_type: object) -> Explanation:
    """Return the answer for a condition explained for an event.

    event_types: the types for which the rule is evaluated; event_type: the event's; None if it has none.
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
    values = _values(check)
    return f"{before}{_shortened(check)} is {check.verdict.value}" + (f" [{values}]" if values else "")


def _values(check: Explained) -> str:
    return ", ".join(f"{name} = {shown_value(value)}" for name, value in check.values)


def _shortened(check: Explained) -> str:
    text = printable(check.text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
