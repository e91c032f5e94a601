"""Writes proposed exceptions as a rule file, and their tests as a test file. Pure."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from lanner.ruleset.tuning.exception_text import exception_lines, values_line
from lanner.ruleset.tuning.proposals import Proposal
from lanner.ruletest.events.events import write_event
from lanner.ruletest.generate.writing import flow_text, quiet_case_text
from schemas.text.counts import count_of
from schemas.yaml.writing import yaml_scalar

_HEAD = """\
# Exceptions that `lanner rules tune` proposed from alerts. Read each: whoever causes alerts chooses their values, so an
# exception excuses whatever looks the same.
"""
_ANCESTRY = ("proc.pcmdline", *(f"proc.{name}[" for name in ("aname", "apid", "aexepath", "acodepath", "acmdline")))


@dataclass(frozen=True, slots=True)
class TakenNames:
    """Names in the rules that mean something else in a patch."""

    lists: Collection[str] = ()
    """Names of lists, which stand for their items wherever one is written."""
    exceptions: Collection[str] = ()
    """Names of exceptions: those of an earlier patch may be among them."""


def patch_text(found: Iterable[Proposal], taken: TakenNames) -> str:
    """Return a rule file that appends the exceptions to their rules.

    Args:
        found: the exceptions.
        taken: names in the rules.
    """
    by_rule: dict[str, list[Proposal]] = {}
    for proposal in found:
        by_rule.setdefault(proposal.rule, []).append(proposal)
    return _HEAD + "".join(_rule(rule, own, taken) for rule, own in by_rule.items())


def witness_cases(proposal: Proposal) -> Iterator[str]:
    """Yield cases of a test file in which an alert is quiet; none if too little is known of the alert.

    The first is without ancestors: few rules depend on them, and their command lines are nobody's business.
    """
    whole = proposal.witness
    if {"evt.type", "proc.name"} <= whole.keys():
        for fields in ({name: whole[name] for name in whole if not name.startswith(_ANCESTRY)}, whole):
            yield quiet_case_text(f"{_named(proposal)} is quiet", [write_event(fields)], proposal.rule)


def cases_text(cases: Iterable[str]) -> str:
    """Return a test file for the rules beside it."""
    return f"cases:\n{''.join(cases)}"


def suite_text(cases: Sequence[str], rule_files: Iterable[str]) -> str:
    """Return a test file; empty if there are no cases.

    Args:
        cases: of the exceptions.
        rule_files: the rule files in load order, the patch last; relative to the test file.
    """
    return f"rules: {flow_text(list(rule_files))}\n\n{cases_text(cases)}" if cases else ""


def _rule(rule: str, found: list[Proposal], taken: TakenNames) -> str:
    lines = ["", f"- rule: {yaml_scalar(rule)}", "  exceptions:"]
    numbers = count(1)
    for each in found:
        if not each.exception:
            names = (f"tuned_{_slug(each)}_{number}" for number in numbers)
            name = next(name for name in names if name not in taken.exceptions)
            lines.append(_quiets(each))
            conditions = [(one.field, one.operator, one.value) for one in each.conditions]
            lines += exception_lines(name, conditions, taken.lists)
    for name in dict.fromkeys(each.exception for each in found if each.exception):
        lines += _more_values(name, [each for each in found if each.exception == name], taken.lists)
    return "\n".join([*lines, "  override:", "    exceptions: append", ""])


def _more_values(name: str, found: Sequence[Proposal], lists: Collection[str]) -> Iterator[str]:
    """Yield the lines that append values to an exception of the rule."""
    yield f"    - name: {yaml_scalar(name)}"
    yield "      values:"
    for each in found:
        yield f"    {_quiets(each)}"
        yield values_line([one.value for one in each.conditions], lists)


def _quiets(proposal: Proposal) -> str:
    hosts = count_of(proposal.hosts, "host")
    return f"    # Quiets {proposal.alerts:,} of {count_of(proposal.of_rule, 'alert')}, on {hosts}."


def _named(proposal: Proposal) -> str:
    return " and ".join(each.text for each in proposal.conditions[:2])


def _slug(proposal: Proposal) -> str:
    last = proposal.conditions[0].value.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_")[:40] or "any"
