"""The part of the backend that converts Sigma's correlations into stateful macros."""

# ruff: noqa: ARG002  pySigma passes these arguments

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

from sigma.conversion.base import Backend
from sigma.correlations import (
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaRuleReference,
)
from sigma.rule import SigmaRule

from lanner.sigma.checks import find, unsupported
from lanner.sigma.pipeline import log_source

_OPERATORS = {SigmaCorrelationConditionOperator.GTE: "gte", SigmaCorrelationConditionOperator.GT: "gt"}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DAY = 86400
_LONGEST = 31 * _DAY


@dataclass(frozen=True, slots=True)
class ConvertedCorrelation:
    """The macro of a correlation: over which rules' events, and the value of its key `correlation`."""

    rules: tuple[SigmaRule | SigmaCorrelationRule, ...]
    is_temporal: bool
    correlation: dict[str, Any]
    """Without `macros`; the keys of its aliases are the positions of rules."""


class CorrelationBackend(Backend, ABC):
    """Converts correlations; each becomes a `ConvertedCorrelation`."""

    correlation_methods: ClassVar[dict[str, str] | None] = {"default": "Stateful macros"}

    def convert_correlation_event_count_rule(
        self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str | None = None
    ) -> list[ConvertedCorrelation]:
        """Convert a count of events."""
        return [_macro(rule, {"type": "event_count"}, _threshold(rule))]

    def convert_correlation_value_count_rule(
        self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str | None = None
    ) -> list[ConvertedCorrelation]:
        """Convert a count of distinct values."""
        condition = _threshold(rule)
        named = rule.condition.fieldref if isinstance(rule.condition, SigmaCorrelationCondition) else None
        if not isinstance(named, str):
            raise unsupported("a count of the values of several fields together")
        fields = {_field(each, named) for each in _rules(rule)}
        if len(fields) != 1:
            raise unsupported(f"a count of the values of {named}, which its rules have in different fields")
        return [_macro(rule, {"type": "value_count"}, {"field": fields.pop(), **condition})]

    def convert_correlation_temporal_rule(
        self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str | None = None
    ) -> list[ConvertedCorrelation]:
        """Convert events of several rules in any order."""
        return [_macro(rule, {"type": "temporal"})]

    def convert_correlation_temporal_ordered_rule(
        self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str | None = None
    ) -> list[ConvertedCorrelation]:
        """Convert events of several rules one after the other."""
        return [_macro(rule, {"type": "temporal_ordered"})]

    def convert_correlation_extended_temporal_rule(
        self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str | None = None
    ) -> list[ConvertedCorrelation]:
        """Reject a condition over several rules."""
        raise unsupported("a correlation by a condition over several rules")

    def convert_correlation_extended_temporal_ordered_rule(
        self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str | None = None
    ) -> list[ConvertedCorrelation]:
        """Reject a condition over several rules."""
        raise unsupported("a correlation by a condition over several rules")

    def convert_correlation_value_sum_rule(
        self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str | None = None
    ) -> list[ConvertedCorrelation]:
        """Reject the sum of a field."""
        raise unsupported("a correlation by the sum of a field")

    def convert_correlation_value_avg_rule(
        self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str | None = None
    ) -> list[ConvertedCorrelation]:
        """Reject the average of a field."""
        raise unsupported("a correlation by the average of a field")

    def convert_correlation_value_percentile_rule(
        self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str | None = None
    ) -> list[ConvertedCorrelation]:
        """Reject the percentile of a field."""
        raise unsupported("a correlation by the percentile of a field")

    def convert_correlation_value_median_rule(
        self, rule: SigmaCorrelationRule, output_format: str | None = None, method: str | None = None
    ) -> list[ConvertedCorrelation]:
        """Reject the median of a field."""
        raise unsupported("a correlation by the median of a field")


def _rules(rule: SigmaCorrelationRule) -> tuple[SigmaRule | SigmaCorrelationRule, ...]:
    references: list[SigmaRuleReference] = rule.rules or []
    return tuple(each.rule for each in references)


def _field(rule: SigmaRule | SigmaCorrelationRule, name: str) -> str:
    """Return Lanner's name of a field of the events that a rule matches."""
    if isinstance(rule, SigmaCorrelationRule):
        names = {_field(each, name) for each in _rules(rule)}
        if len(names) != 1:
            raise unsupported(f"a group by {name}, which the rules of a correlation have in different fields")
        return names.pop()
    source = log_source(rule.logsource)
    found = source.fields.get(name, name) if source is not None else name
    find(found)
    return found


def _macro(
    rule: SigmaCorrelationRule, kind: dict[str, str], condition: dict[str, Any] | None = None
) -> ConvertedCorrelation:
    rules = _rules(rule)
    groups: list[str] = []
    aliases: dict[str, dict[int, str]] = {}
    for name in rule.group_by or ():
        alias = rule.aliases.aliases.get(name)
        written = {reference.reference: field for reference, field in alias.mapping.items()} if alias else {}
        fields = [_field(each.rule, written.get(each.reference, name)) for each in rule.rules or ()]
        if len(set(fields)) == 1:
            groups.append(fields[0])
        elif condition is not None:
            raise unsupported(f"a group by {name}, which its rules have in different fields")
        else:
            groups.append(_plain(name))
            aliases[_plain(name)] = dict(enumerate(fields))
    made: dict[str, Any] = {**kind, "group-by": groups} if groups else {**kind}
    made["timespan"] = _timespan(rule)
    if condition is not None:
        made["condition"] = condition
    if aliases:
        made["aliases"] = aliases
    return ConvertedCorrelation(rules, condition is None, made)


def _plain(name: str) -> str:
    return "".join(each if each.isalnum() and each.isascii() else "_" for each in name).lower()


def _threshold(rule: SigmaCorrelationRule) -> dict[str, Any]:
    condition = rule.condition
    if not isinstance(condition, SigmaCorrelationCondition) or condition.op not in _OPERATORS:
        raise unsupported("a correlation whose condition is neither gte nor gt")
    return {_OPERATORS[condition.op]: int(condition.count)}


def _timespan(rule: SigmaCorrelationRule) -> str:
    span = rule.timespan
    if span.unit not in _UNITS or not 0 < span.seconds <= _LONGEST:
        raise unsupported(f"a timespan of {span.spec}: the longest is 31d")
    return f"{span.count * 7}d" if span.unit == "w" else span.spec
