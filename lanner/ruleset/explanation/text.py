"""Formats an explanation of why a rule did or didn't match: as a tree of text, or as JSON."""

from collections.abc import Iterator
from typing import Any

from processor.compiler.values.transformers import as_text
from processor.detection.explain import Explained, Verdict
from schemas.text.printable import printable

_COLOURS = {Verdict.TRUE: "32", Verdict.FALSE: "31", Verdict.MISSING: "33", Verdict.UNKNOWN: "35"}
_LONGEST = 100
_WIDTH = max(len(verdict.value) for verdict in Verdict)
_MISSING = "<NA>"


def as_text_tree(tree: Explained, *, expand: bool = False, colour: bool = False) -> str:
    """Format a tree, one line per node: its verdict, its text, and the values that decided it.

    Macros are expanded if they prevented the match; `expand` expands all.

    Args:
        tree: the explanation.
        expand: omit nothing.
        colour: use terminal colors.
    """
    return "".join(f"{line}\n" for line in _lines(tree, 0, expand=expand, colour=colour, decides=not tree.is_true))


def _lines(tree: Explained, depth: int, *, expand: bool, colour: bool, decides: bool) -> Iterator[str]:
    children = () if tree.kind == "check" else tree.children
    is_open = expand or decides or depth == 0 or tree.kind not in ("macro", "exception")
    mark = tree.verdict.value.ljust(_WIDTH)
    if colour:
        mark = f"\x1b[{_COLOURS[tree.verdict]}m{mark}\x1b[0m"
    yield f"{mark}  {'  ' * depth}{label(tree, whole=expand)}{'' if is_open else ' ...'}"
    if not is_open:
        return
    for child in children:
        yield from _lines(
            child, depth + 1, expand=expand, colour=colour, decides=decides and decides_parent(tree, child)
        )


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
            values = ", ".join(f"{name} = {shown_value(value)}" for name, value in tree.values)
            values += ", ".join(f"{name}?" for name in tree.unknown)
            text = printable(tree.text)
            if len(text) > _LONGEST and not whole:
                text = f"{text[:_LONGEST]}..."
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
