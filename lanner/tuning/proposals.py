"""Proposes exceptions: the conditions that many alerts of a rule share. Pure.

The candidates are the closed sets of conditions: what a group of alerts has in common, whole, so that no candidate is
wider than its alerts require.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from processor.compiler.operands import fits_in_rule
from processor.output.redaction import MASK
from processor.rule import RuleException
from schemas.alert import Alert

PROGRAM = "proc.codepath"
IMAGE = "container.image.repository"
FILE = "fd.name"
PATH = "fs.path.name"
OBJECTS = (FILE, PATH, "fs.path.target", "fd.sip", "fd.sport", "proc.cmdline")
CLAIMED = frozenset({"proc.cmdline"})
"""Whoever starts a program chooses these."""
PARENT = "proc.pcodepath"
CONTEXT = (IMAGE, "k8s.ns.name", PARENT)
USER = "user.name"
CHANGEABLE = CLAIMED | {USER, "k8s.ns.name"}
"""The fields that an exception of a rule's author may leave out although alerts share their values."""
_ANYTHING = frozenset(
    {
        *("ash", "awk", "bash", "busybox", "chroot", "csh", "dash", "doas", "env", "fish", "flock", "gawk"),
        *("ionice", "java", "ksh", "lua", "mawk", "mksh", "nice", "node", "nodejs", "nohup", "nsenter", "perl"),
        *("php", "platform-python", "python", "ruby", "runuser", "script", "setpriv", "setsid", "sh", "ssh"),
        *("sshd", "sshd-session", "su", "sudo", "systemd", "systemd-run", "tclsh", "tcsh", "timeout"),
        *("unshare", "xargs", "zsh"),
    }
)
"""Names of programs that run whatever their arguments name or somebody types: their paths excuse everything."""
_GENERALIZED = frozenset({FILE, PATH, "fs.path.target", "proc.cmdline"})
_MIN_FIELDS = 2
_MIN_DEPTH = 2
"""Folders of a prefix, at least: /etc/ alone would excuse too much."""
_MAX_DEPTH = 16
_NUMBER = re.compile(r"\d+")
_PATTERN = re.compile(r"[*?\[\]\\]")
_MAX_PORT = 32_767
"""Higher ports are chosen at random."""
_RANKS = {"=": 0, "glob": 1, "startswith": 2}


@dataclass(frozen=True, slots=True)
class FieldCondition:
    """One field compared with a value."""

    field: str
    operator: str
    value: str

    @property
    def text(self) -> str:
        """The condition as people read it."""
        return f"{self.field} {self.operator} {self.value}"


def conditions_of(fields: Mapping[str, Any]) -> frozenset[FieldCondition]:
    """Return all conditions that an alert's fields meet."""
    found = []
    for name in (PROGRAM, *OBJECTS, *CONTEXT, USER):
        value = _text(fields.get(name))
        if value is None or _is_random(name, value) or (name in (PROGRAM, PARENT) and _does_anything(value)):
            continue
        found.append(FieldCondition(name, "=", value))
        if name in _GENERALIZED:
            found.extend(FieldCondition(name, *each) for each in _generalized(value))
    return frozenset(found)


def most_specific(conditions: Iterable[FieldCondition]) -> tuple[FieldCondition, ...]:
    """Return one condition of each field, the most specific, in the order in which people read them."""
    best: dict[str, FieldCondition] = {}
    for each in conditions:
        known = best.get(each.field)
        if known is None or _specificity(each) < _specificity(known):
            best[each.field] = each
    if FILE in best and best.get(PATH) == twin_of(best[FILE]):
        del best[PATH]
    order = (IMAGE, "k8s.ns.name", PROGRAM, *OBJECTS, PARENT, USER)
    return tuple(best[name] for name in order if name in best)


def twin_of(condition: FieldCondition) -> FieldCondition | None:
    """Return what is the same about the path that a call operates on: calls with a descriptor often have both."""
    return FieldCondition(PATH, condition.operator, condition.value) if condition.field == FILE else None


def is_narrow(fields: Collection[str], *, is_declared: bool = False) -> bool:
    """Return whether conditions on an exception's fields name a program or image, and what it does or where it runs.

    is_declared: whether a rule's author chose them. Then the parent is enough; else it isn't, because a shell is the
    parent of whatever people start.
    """
    beside = {USER} if is_declared else {USER, PARENT}
    return not {PROGRAM, IMAGE}.isdisjoint(fields) and len({*fields} - beside) >= _MIN_FIELDS


def _text(value: Any) -> str | None:
    """Return a value that a rule can state; None if it is missing, or its text was replaced."""
    if value is None or isinstance(value, bool | list | tuple | dict) or value in ("", "<NA>"):
        return None
    text = str(value)
    return text if fits_in_rule(text) and text.isprintable() and "\ufffd" not in text and MASK not in text else None


def _is_random(name: str, value: str) -> bool:
    """Return whether a value names one connection, which doesn't come again."""
    return (name == FILE and "->" in value) or (
        name == "fd.sport" and not (value.isdecimal() and int(value) <= _MAX_PORT)
    )


def _does_anything(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith("ld-") or name.rstrip("0123456789.") in _ANYTHING


def _generalized(value: str) -> Iterator[tuple[str, str]]:
    if not _PATTERN.search(value):
        pattern = _NUMBER.sub("[0-9]*", value)
        if pattern != value and fits_in_rule(pattern):
            yield "glob", pattern
    if value.startswith("/"):
        parts = value.split("/")[1:-1][:_MAX_DEPTH]
        for depth in range(_MIN_DEPTH, len(parts) + 1):
            yield "startswith", f"/{'/'.join(parts[:depth])}/"


def _specificity(condition: FieldCondition) -> tuple[int, int]:
    return _RANKS[condition.operator], -len(condition.value)


MIN_WITNESSES = 5
MAX_FIELDS = 4
MAX_PROPOSALS = 5
"""For one rule."""
_MAX_SHAPES = 400
"""Different sets of conditions of a rule's alerts, the most frequent first."""
_MAX_CANDIDATES = 4_000
_NEARLY = 0.9
"""A narrower exception is preferred if it covers so much of what a wider one covers."""

Conditions = frozenset[FieldCondition]


@dataclass(frozen=True, slots=True)
class TunedAlert:
    """The facts of an alert that matter for proposals."""

    rule: str
    host: str
    fields: Mapping[str, Any]
    number: int = 1
    """Alerts that it stands for: a summary replaces many, and has the fields that they share."""
    is_marked: bool = False
    """True if people marked it as real."""

    @classmethod
    def of(cls, alert: Alert, *, is_marked: bool = False) -> "TunedAlert":
        """Return the facts of an alert."""
        number = 1 if alert.repeats is None else alert.repeats.count
        return cls(alert.rule, alert.hostname, alert.stated, number, is_marked)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One exception, and what it would have quieted."""

    rule: str
    conditions: tuple[FieldCondition, ...]
    alerts: int
    of_rule: int
    """All alerts of the rule."""
    hosts: int
    marked: int
    """Alerts that people marked as real, among those that it quiets."""
    witness: Mapping[str, Any]
    """The fields of one of the alerts."""
    exception: str = ""
    """The rule's own exception to which the values belong; empty if a new one is needed."""


def propose(
    alerts: Iterable[TunedAlert],
    witnesses: int = MIN_WITNESSES,
    declared: Mapping[str, Sequence[RuleException]] = MappingProxyType({}),
) -> list[Proposal]:
    """Return proposed exceptions; those of the rule with most alerts come first.

    witnesses: alerts that an exception must quiet, at least. A summary is one, since of what it replaces only the
    number is known. declared: the exceptions of each rule, for which values are proposed if they compare what the
    alerts share.
    """
    by_rule: dict[str, list[TunedAlert]] = defaultdict(list)
    for alert in alerts:
        by_rule[alert.rule].append(alert)
    noisiest = sorted(by_rule.items(), key=lambda item: (-_total(item[1]), item[0]))
    return [found for rule, own in noisiest for found in _of_rule(rule, own, witnesses, declared.get(rule, ()))]


def proposal_for(
    alert: TunedAlert, alerts: Iterable[TunedAlert], declared: Mapping[str, Sequence[RuleException]]
) -> Proposal | None:
    """Return the proposal that quiets an alert: one that it shares with others, else one for it alone; None if neither.

    alerts: others of its rule; declared: as for `propose`.
    """
    shape = conditions_of(alert.fields)
    for found in (*propose(alerts, declared=declared), *propose([alert], 1, declared)):
        # A whole path is its own prefix.
        if all(each in shape or replace(each, operator="=") in shape for each in found.conditions):
            return found
    return None


def _of_rule(
    rule: str, alerts: Sequence[TunedAlert], witnesses: int, declared: Sequence[RuleException]
) -> list[Proposal]:
    # Sets of the same objects are compared several times faster.
    same: dict[FieldCondition, FieldCondition] = {}
    shapes = [frozenset(same.setdefault(each, each) for each in conditions_of(alert.fields)) for alert in alerts]
    all_counts = Counter[Conditions]()
    for alert, shape in zip(alerts, shapes, strict=True):
        all_counts[shape] += alert.number
    counts = dict(all_counts.most_common(_MAX_SHAPES))
    seen = Counter(shape for shape in shapes if shape in counts)
    covered_by = {each: {shape for shape in counts if shape.issuperset(each)} for each in _candidates(counts)}
    fits = {each: next(_fitting(each, covered, declared), None) for each, covered in covered_by.items()}
    candidates = [each for each, fit in fits.items() if fit or is_narrow([one.field for one in each])]
    left = set(counts)
    found: list[Proposal] = []
    while len(found) < MAX_PROPOSALS:
        gains = {
            each: sum(counts[shape] for shape in covered_by[each] & left)
            for each in candidates
            if sum(seen[shape] for shape in covered_by[each] & left) >= witnesses
        }
        if not gains:
            break
        widest = max(gains.values())
        near = [each for each, gain in gains.items() if gain >= widest * _NEARLY]
        # How far its conditions are from equality; 0 if all compare for it.
        wide = {each: sum(_RANKS[one.operator] for one in each) for each in near}
        chosen = max(near, key=lambda each: (len(each), -wide[each], gains[each], sorted(one.text for one in each)))
        exception, common = fits[chosen] or (None, chosen)
        left -= {shape for shape in left if shape.issuperset(common)}
        proposal = _proposal(rule, common, alerts, shapes)
        found.append(proposal if exception is None else _appended(proposal, exception))
    return found


def _fitting(
    conditions: Sequence[FieldCondition], shapes: Iterable[Conditions], declared: Sequence[RuleException]
) -> Iterator[tuple[RuleException, tuple[FieldCondition, ...]]]:
    """Yield the exceptions that compare all that alerts share, except what changes, with their conditions in order."""
    by_field = {each.field: each for each in conditions}
    twins = [twin for each in conditions if (twin := twin_of(each)) and all(twin in shape for shape in shapes)]
    for exception in declared:
        fields = {**by_field, **{twin.field: twin for twin in twins if twin.field in exception.fields}}
        shared = fields.keys() - CHANGEABLE - ({FILE} if PATH in exception.fields and twins else set())
        found = tuple(fields[field] for field in exception.fields if field in fields)
        if (
            len(found) == len(exception.fields)
            and shared <= set(exception.fields)
            and is_narrow(exception.fields, is_declared=True)
            and all(map(_is_within, found, exception.operators))
        ):
            yield exception, found


def _is_within(condition: FieldCondition, operator: str) -> bool:
    return condition.operator == operator or (condition.operator, operator) == ("=", "startswith")


def _appended(proposal: Proposal, exception: RuleException) -> Proposal:
    conditions = zip(proposal.conditions, exception.operators, strict=True)
    own = tuple(replace(each, operator=operator) for each, operator in conditions)
    return replace(proposal, conditions=own, exception=exception.name)


def _candidates(counts: Mapping[Conditions, int]) -> set[tuple[FieldCondition, ...]]:
    """Return what groups of alerts have in common, as far as it is narrow."""
    closed: dict[Conditions, None] = {}
    for shape in counts:
        for other in [*closed, shape]:
            if len(closed) < _MAX_CANDIDATES:
                closed.setdefault(shape & other)
    reduced = (most_specific(each)[:MAX_FIELDS] for each in closed)
    return {each for each in reduced if is_narrow([one.field for one in each], is_declared=True)}


def _proposal(
    rule: str, conditions: tuple[FieldCondition, ...], alerts: Sequence[TunedAlert], shapes: Sequence[Conditions]
) -> Proposal:
    quieted = [alert for alert, shape in zip(alerts, shapes, strict=True) if shape.issuperset(conditions)]
    return Proposal(
        rule,
        conditions,
        _total(quieted),
        _total(alerts),
        len({alert.host for alert in quieted}),
        sum(alert.is_marked for alert in quieted),
        quieted[0].fields,
    )


def _total(alerts: Iterable[TunedAlert]) -> int:
    return sum(alert.number for alert in alerts)
