"""Writes exceptions, and counts what one would have quieted: evaluated as the rule's own would be."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from foundation.yaml.text import yaml_scalar
from lanner.errors import BadInput
from lanner.tuning.proposals import CLAIMED, FieldCondition, Proposal
from processor.compiler.mapping import compile_mapping
from processor.compiler.operands import fits_in_rule
from processor.compiler.transformers import as_text
from processor.language.ast import Not
from processor.language.printer import print_condition, print_value, quote
from processor.loading import RuleFile, load_rules
from processor.loading.items.exceptions import split_exceptions
from processor.output.formatter import NAMES
from processor.output.redaction import MASK
from schemas.alert import Alert

_WORDS = re.compile(r"(?<!\\)[A-Za-z0-9_.-]+")


def exception_head(name: str, conditions: Sequence[FieldCondition] = ()) -> list[str]:
    """Return the first lines of an exception, as an item of `exceptions`; its values follow.

    conditions: what it compares; none if the rule has an exception of this name, which gets more values.
    """
    head = [f"    - name: {yaml_scalar(name)}"]
    if conditions:
        head.append(f"      fields: [{', '.join(yaml_scalar(each.field) for each in conditions)}]")
        # Quoted: a plain = is not a text in YAML 1.1.
        head.append(f"      comps: [{', '.join(yaml_scalar(each.operator) for each in conditions)}]")
    return [*head, "      values:"]


def appended_text(rule: str, lines: Iterable[str]) -> str:
    """Return the item of a rule file that appends exceptions to a rule. lines: of `exceptions`."""
    head = [f"- rule: {yaml_scalar(rule)}", "  exceptions:"]
    return "\n".join([*head, *lines, "  override:", "    exceptions: append", ""])


def values_line(conditions: Sequence[FieldCondition], lists: Collection[str]) -> str:
    """Return the line of one entry of an exception's values.

    lists: names of the lists of the rules, which stand for their items wherever they are a word.
    """
    return f"        - [{', '.join(yaml_scalar(literal(each.value, lists)) for each in conditions)}]"


def literal(text: str, lists: Collection[str]) -> str:
    """Return a text, which an attacker may have chosen, as a condition writes it, so that it stands for itself.

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
    *("proc.codepath", "proc.pcodepath", "proc.exepath", "proc.cmdline"),
    "user.name",
    *("fd.name", "fd.directory", "fd.sip", "fd.sport", "fs.path.name", "fs.path.target", "evt.type"),
    *("container.image.repository", "container.name", "k8s.ns.name", "k8s.pod.name"),
)
"""Fields by which legitimate actions are recognized; those that differ each time are not among them."""
_CLAIMED = re.compile(r"proc\..*(?:name|exe)(?:\[\d+\])?")
"""Names of processes: whoever starts one chooses its name, so no exception goes by it."""


Decisions = Mapping[str, Sequence[str]]
"""Decisions of people about an alert and its group, in words, by subject."""


class BadExceptionFields(BadInput):
    """The requested fields can't be those of an exception."""


@dataclass(frozen=True, slots=True)
class WrittenException:
    """An exception as a rule file has it."""

    conditions: tuple[FieldCondition, ...] = ()
    text: str = ""
    """The item of a rule file; empty if there is no exception."""
    condition: str = ""
    """True for the events that it excludes."""
    excludes: Callable[[Alert], bool] = lambda _: False


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


def choices(alert: Alert, proposed: Proposal | None = None) -> Mapping[str, FieldCondition]:
    """Return the conditions that an exception for an alert can have, by field: those proposed, else its own values."""
    own = alert.stated
    names = dict.fromkeys((*_RECOGNIZED, *(name for name in alert.output_fields if name in NAMES)))
    texts = {
        name: as_text(value)
        for name in names
        if not _CLAIMED.fullmatch(name) and (value := own.get(name)) not in (None, "", "<NA>", ())
    }
    found = {
        name: FieldCondition(name, "=", text)
        for name, text in texts.items()
        if fits_in_rule(text) and not _is_unwritable(text)
    }
    return found | {each.field: each for each in (proposed.conditions if proposed else ())}


def _is_unwritable(text: str) -> bool:
    """Return whether a rule can't have a text: its secrets or undecodable bytes were replaced, or it has a NUL."""
    return "\ufffd" in text or MASK in text or "\0" in text


def written(
    alert: Alert, fields: Sequence[str], proposed: Proposal | None, now: int, lists: Collection[str] = ()
) -> WrittenException:
    """Return an exception that excludes an alert.

    fields: of its choices; the proposed ones if it is empty. now: ns since the epoch; the name of a new exception has
    it. lists: as for `values_line`. Raises BadExceptionFields if a field is not among the choices, if there are too
    many, or if an attacker chooses all of them.
    """
    own = [each.field for each in proposed.conditions] if proposed else []
    fields = fields or own
    possible = choices(alert, proposed)
    if unknown := [name for name in fields if name not in possible]:
        raise BadExceptionFields(
            f"fields: {unknown[0]} is not among the fields of this alert that an exception can name."
        )
    if len(fields) > MAX_FIELDS:
        raise BadExceptionFields(
            f"fields must be at most {MAX_FIELDS} names, separated by commas; none takes the proposed ones."
        )
    if not fields:
        return WrittenException()
    if CLAIMED.issuperset(fields):
        raise BadExceptionFields(
            f"whoever starts a program chooses its {', '.join(fields)}: choose a path or an image beside it."
        )
    is_declared = proposed is not None and proposed.exception and set(fields) == set(own)
    conditions = [possible[name] for name in (own if is_declared else fields)]
    values = values_line(conditions, lists)
    named = f"{datetime.fromtimestamp(now / 1e9, UTC):quiet_%Y-%m-%d_%H.%M.%S}"
    entry = [*exception_head(named, conditions), values]
    excluded = _excluded("\n".join(["  exceptions:", *entry]))
    if proposed is not None and is_declared:
        entry = [*exception_head(proposed.exception), values]
    evaluate = compile_mapping(excluded)

    def excludes(other: Alert) -> bool:
        return evaluate(other.stated)

    return WrittenException(tuple(conditions), appended_text(alert.rule, entry), print_condition(excluded), excludes)


def quieted(
    alerts: Iterable[tuple[Alert, Decisions]],
    proposed: WrittenException,
    alert: Alert,
    since: int,
    stop: Callable[[], bool],
) -> Quieted:
    """Return what an exception would have quieted.

    alerts: those of the rule since a time, ns since the epoch, newest first, with what people decided about them.
    alert: that for which it is proposed; decisions about it don't count. stop: called between alerts; True ends it
    early.
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
