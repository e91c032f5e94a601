"""Derives a pushdown filter from rules: a sound over-approximation that the kernel can evaluate.

Each check has two bounds, *may be true* and *must be true*, which negation swaps. The upper bound is then written as a
list of clauses, each with its predicates and path patterns.
"""

import re
from collections.abc import Iterable, Sequence

from processor.compiler.simplify import Folded, by_type, simplify
from processor.language.ast import Ancestor, And, Check, Node, Not, Or, children, deep
from processor.pushdown.checks import negated, received_answers, upper
from schemas.catalog.system_calls import ANSWERED
from schemas.filter import (
    EVERY_VARIABLE,
    OPENED_FILES,
    PROGRAM_FILES,
    Clause,
    PathPattern,
    Predicate,
    PushdownFilter,
    without_narrower,
)

Bound = tuple[Clause, ...]
"""Clauses of one event type: an event matches if any of them is true."""

_MAX_CLAUSES = 64
"""Maximum clauses of one rule; a condition that needs more counts as always possible."""


def derive(
    conditions: Sequence[Node], events: Iterable[str], *, variables: frozenset[str] = frozenset(), names: bool = False
) -> PushdownFilter:
    """Derive the pushdown filter of rules.

    Args:
        conditions: of rules, macros resolved.
        events: the event types that any of the rules is evaluated for.
        variables: names of the environment variables that rules use.
        names: whether rules use the names that programs look up for addresses, so that all answers are sent.
    """
    with deep():
        clauses = frozenset(
            clause for _, event, folded in by_type(conditions, frozenset(events)) for clause in bound(folded, event)
        )
    answers = {clause for event in ANSWERED if names for clause in received_answers(event)}
    return PushdownFilter(without_narrower(clauses | answers), variables)


def clauses_of(condition: Node, event: str) -> Bound:
    """Return the clauses under which an event of one type may make a condition true."""
    with deep():
        return bound(simplify(condition, event), event)


def bound(folded: Folded, event: str, *, is_upper: bool = True) -> Bound:
    """Bound a condition: from above the ways in which it may be true, from below those in which its negation may.

    The lower bound is written as the upper bound of the negation: not (A and B) <= not A or not B.

    Args:
        folded: as simplify leaves it.
        event: the event type that it was simplified for.
        is_upper: False for the lower bound.
    """
    if isinstance(folded, bool):
        return (Clause(event),) if folded == is_upper else ()
    if isinstance(folded, Check):
        return upper(folded, event) if is_upper else negated(folded, event)
    if isinstance(folded, Ancestor):
        return (Clause(event),)
    below = is_upper is not isinstance(folded, Not)
    parts = [bound(child, event, is_upper=below) for child in children(folded)]
    if isinstance(folded, And | Or):
        return _all(parts, event) if isinstance(folded, And) == is_upper else _any(parts, event)
    return parts[0] if parts else (Clause(event),)


def _any(parts: list[Bound], event: str) -> Bound:
    clauses = tuple(dict.fromkeys(clause for part in parts for clause in part))
    return clauses if len(clauses) <= _MAX_CLAUSES and Clause(event) not in clauses else (Clause(event),)


def _all(parts: list[Bound], event: str) -> Bound:
    result: Bound = (Clause(event),)
    for part in sorted(parts, key=len):
        joined = dict.fromkeys(both for one in result for other in part if (both := _both(one, other)) is not None)
        # Leaving a part out only widens what is let through.
        if len(joined) <= _MAX_CLAUSES:
            result = tuple(joined)
    return result


def _both(one: Clause, other: Clause) -> Clause | None:
    tests = _joined([*one.tests, *other.tests])
    if tests is None:
        return None
    return Clause(one.event, tests, _narrower(one.patterns, other.patterns))


def _narrower(
    one: frozenset[PathPattern] | None, other: frozenset[PathPattern] | None
) -> frozenset[PathPattern] | None:
    """Return the smaller of two sets of path patterns: either covers every path in both."""
    if one is None or other is None:
        return one if other is None else other
    return min(one, other, key=lambda patterns: (len(patterns), sorted(patterns)))


def _joined(tests: list[tuple[Predicate, bool]]) -> frozenset[tuple[Predicate, bool]] | None:
    """Join tests of the same bits into one; None where no event can answer all as they ask."""
    allowed: dict[tuple[str, int], frozenset[int]] = {}
    refused: dict[tuple[str, int], frozenset[int]] = {}
    for test, expected in tests:
        key, values = (test.subject, test.mask), frozenset(test.values)
        if expected:
            allowed[key] = allowed.get(key, values) & values
        else:
            refused[key] = refused.get(key, frozenset()) | values
    for key, values in allowed.items():
        left = values - refused.pop(key, frozenset())
        if not left:
            return None
        allowed[key] = left
    return frozenset(
        (Predicate(*key, tuple(sorted(values))), expected)
        for expected, found in ((True, allowed), (False, refused))
        for key, values in found.items()
    )


_WHOLE = re.compile(r"(?<![\w.])evt\.(?:raw)?arg(?:\.env\b|\[(?:env|15)\])")
"""The argument of execve with the environment, by its name or its number."""
_PROGRAM = re.compile(r"(?<![\w.])proc\.(?:exe\.(?:sha256|origin|package|written)|script\.)")
_OPENED = re.compile(r"(?<![\w.])fd\.file\.")
_FIELD = re.compile(r"(?<![\w.])proc\.a?env\b(?:\[([^\]]*)\])?")


def variables_in(texts: Iterable[str]) -> frozenset[str]:
    """Find them in conditions, outputs and names of fields.

    Args:
        texts: as people write them; text in quotes counts, which only adds names.

    Returns:
        Names; EVERY_VARIABLE among them where a rule asks for the environment of a process, or of an ancestor, whole,
        PROGRAM_FILES where one uses what the file of a program is, and OPENED_FILES where one uses that of other code.
    """
    found: set[str] = set()
    for text in texts:
        if _WHOLE.search(text):
            found.add(EVERY_VARIABLE)
        if _PROGRAM.search(text):
            found.add(PROGRAM_FILES)
        if _OPENED.search(text):
            found.add(OPENED_FILES)
        for field in _FIELD.finditer(text):
            name = (field[1] or "").strip("\"' ")
            found.add(EVERY_VARIABLE if not name or name.isdecimal() else name)
    return frozenset(found)


_NAME = re.compile(r"(?<![\w.])fd\.[cslr]ip\.name\b(?!\s*(?:=|!=|in\b))|%fd\.[cslr]ip\.name\b")


def has_looked_up_names(texts: Iterable[str]) -> bool:
    """Return whether rules use the names that programs look up; texts: as for variables_in.

    Equality compares addresses with those of the rules' own names.
    """
    return any(_NAME.search(text) for text in texts)
