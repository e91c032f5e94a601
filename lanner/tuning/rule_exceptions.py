"""Proposes an exception for an alert, and counts what it would have quieted: evaluated as the rule's own would be."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from foundation.yaml.text import yaml_scalar
from lanner.errors import BadInput
from processor.compiler.literals import fits_in_rule
from processor.compiler.mapping import compile_mapping
from processor.compiler.transformers import as_text
from processor.language.ast import Not
from processor.language.printer import print_condition, print_value, quote
from processor.loading import RuleFile, load_rules
from processor.loading.items.exceptions import split_exceptions
from processor.output.formatter import NAMES
from processor.output.redaction import MASK
from schemas.alert import Alert

_WORDS = re.compile(r"(?<!\\)[A-Za-z0-9_.-]+")


def exception_lines(name: str, conditions: Sequence[tuple[str, str, str]], lists: Collection[str]) -> list[str]:
    """Return the lines of one exception, as an item of `exceptions`.

    Args:
        name: its name.
        conditions: field, operator and value.
        lists: names of the lists of the rules, which stand for their items wherever they are a word.
    """
    fields, operators = (
        ", ".join(map(yaml_scalar, column))
        for column in ([field for field, _, _ in conditions], [operator for _, operator, _ in conditions])
    )
    return [
        f"    - name: {name}",
        f"      fields: [{fields}]",
        # Quoted: a plain = is not a text in YAML 1.1.
        f"      comps: [{operators}]",
        "      values:",
        values_line([value for _, _, value in conditions], lists),
    ]


def appended_text(rule: str, lines: Iterable[str]) -> str:
    """Return the item of a rule file that appends exceptions to a rule. lines: of `exceptions`."""
    head = [f"- rule: {yaml_scalar(rule)}", "  exceptions:"]
    return "\n".join([*head, *lines, "  override:", "    exceptions: append", ""])


def values_line(values: Sequence[str], lists: Collection[str]) -> str:
    """Return the line of one entry of an exception's values."""
    return f"        - [{', '.join(yaml_scalar(literal(value, lists)) for value in values)}]"


def literal(text: str, lists: Collection[str]) -> str:
    """Return a text as a condition writes it, so that it stands for itself.

    Args:
        text: an attacker may have chosen it.
        lists: names that would be replaced, also between quotes.
    """
    if not any(word in lists for word in _WORDS.findall(text)):
        return print_value(text)
    return _WORDS.sub(
        lambda word: f"\\x{ord(word[0][0]):02x}{word[0][1:]}" if word[0] in lists else word[0], quote(text)
    )


MAX_ALERTS = 50_000
MAX_FIELDS = 8
MAX_DAYS = 30
_RECOGNIZED = (
    *("proc.codepath", "proc.pcodepath", "proc.name", "proc.pname", "proc.exepath", "proc.cmdline", "proc.aname[2]"),
    "user.name",
    *("fd.name", "fd.directory", "fd.sip", "fd.sport", "fs.path.name", "fs.path.target", "evt.type"),
    *("container.image.repository", "container.name", "k8s.ns.name", "k8s.pod.name"),
)
"""Fields by which legitimate actions are recognized; those that differ each time are not among them."""
_USUAL = ("proc.codepath", "proc.pcodepath", "fd.name", "container.image.repository")


Decisions = Mapping[str, Sequence[str]]
"""Decisions of people about an alert and its group, in words, by subject."""


class BadExceptionFields(BadInput):
    """The requested fields can't be those of an exception."""


@dataclass(frozen=True, slots=True)
class ProposedException:
    """An exception that excludes an alert."""

    fields: Sequence[str]
    text: str
    """The item of a rule file."""
    condition: str
    """True for the events that it excludes."""
    excludes: Callable[[Alert], bool]


@dataclass(slots=True)
class MarkedAlerts:
    """Alerts of a group, or one alert, that people acknowledged, assigned or commented on."""

    newest: Alert
    decisions: Sequence[str]
    count: int = 0


@dataclass(slots=True)
class Quieted:
    """The alerts that an exception would have quieted."""

    since: int
    """Time of the oldest alert that was looked at, ns since the epoch."""
    alerts: int = 0
    checked: int = 0
    is_partial: bool = False
    """True if there are more alerts than were looked at."""
    marked: dict[str, MarkedAlerts] = field(default_factory=dict)
    """Groups and alerts about which people decided something, by subject."""


def choices(alert: Alert) -> Mapping[str, str]:
    """Return the fields of an alert that an exception can name, with their values."""
    own = alert.stated
    names = dict.fromkeys((*_RECOGNIZED, *(name for name in alert.output_fields if name in NAMES)))
    found = {name: as_text(value) for name in names if (value := own.get(name)) not in (None, "", "<NA>", ())}
    return {name: text for name, text in found.items() if fits_in_rule(text) and not _is_unwritable(text)}


def _is_unwritable(text: str) -> bool:
    """Return whether a rule can't have a text: its secrets or undecodable bytes were replaced, or it has a NUL."""
    return "\ufffd" in text or MASK in text or "\0" in text


def usual_fields(possible: Mapping[str, str]) -> tuple[str, ...]:
    """Return the fields to begin with."""
    return tuple(name for name in _USUAL if name in possible) or tuple(islice(possible, 1))


def propose(alert: Alert, fields: Sequence[str], now: int, lists: Collection[str] = ()) -> ProposedException:
    """Return the exception for the values that an alert has in some fields.

    Args:
        alert: the alert.
        fields: of its choices.
        now: ns since the epoch; the exception's name has it.
        lists: names of the lists of the rules, which stand for their items wherever they are a word.

    Raises:
        BadExceptionFields: a field is not among the choices, or there are none or too many.
    """
    possible = choices(alert)
    if unknown := [name for name in fields if name not in possible]:
        raise BadExceptionFields(
            f"fields: {unknown[0]} is not among the fields of this alert that an exception can name."
        )
    if not 0 < len(fields) <= MAX_FIELDS:
        raise BadExceptionFields(f"fields must be 1 to {MAX_FIELDS} names, separated by commas.")
    named = f"{datetime.fromtimestamp(now / 1e9, UTC):quiet_%Y-%m-%d_%H.%M.%S}"
    lines = exception_lines(named, [(name, "=", possible[name]) for name in fields], lists)
    text = appended_text(alert.rule, lines)
    excluded = _excluded("\n".join(["  exceptions:", *lines]))
    evaluate = compile_mapping(excluded)

    def excludes(other: Alert) -> bool:
        return evaluate(other.stated)

    return ProposedException(fields, text, print_condition(excluded), excludes)


def quieted(
    alerts: Iterable[tuple[Alert, Decisions]],
    proposed: ProposedException,
    alert: Alert,
    since: int,
    stop: Callable[[], bool],
) -> Quieted:
    """Return what an exception would have quieted.

    Args:
        alerts: those of the rule since a time, newest first, with what people decided about them.
        proposed: the exception.
        alert: the alert that it is proposed for; decisions about it don't count.
        since: the time, ns since the epoch.
        stop: called between alerts; True ends it early.
    """
    found = Quieted(since)
    for each, decisions in alerts:
        if found.checked >= MAX_ALERTS or stop():
            found.is_partial = True
            break
        found.checked += 1
        found.since = each.time
        if not proposed.excludes(each):
            continue
        found.alerts += 1
        for subject, texts in decisions.items() if each.id != alert.id else ():
            found.marked.setdefault(subject, MarkedAlerts(each, texts)).count += 1
    return found


def _excluded(entry: str) -> Any:
    """Return the condition of an exception as the loader makes it. Raises BadInput."""
    rule = "- rule: proposed\n  desc: x\n  condition: evt.num >= 0\n  output: x\n  priority: DEBUG\n"
    loaded = load_rules([RuleFile("<exception>", f"{rule}{entry}\n")])
    if loaded.errors or not loaded.rules:
        raise BadInput(*(problem.message for problem in loaded.errors))
    made = loaded.rules[0]
    _, (negated,) = split_exceptions(made.condition, made.active_exceptions)
    return negated.child if isinstance(negated, Not) else negated
