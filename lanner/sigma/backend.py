"""The backend of pySigma for Lanner: Sigma's conditions in, conditions of Lanner's language out.

Conditions are built as trees of `processor.language.ast`, which merge comparisons of one field, and are printed last.
"""

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

# ruff: noqa: ARG002  pySigma passes these arguments
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.conversion.base import Backend
from sigma.conversion.state import ConversionState
from sigma.correlations import (
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaRuleReference,
)
from sigma.processing.pipeline import ProcessingPipeline
from sigma.rule import SigmaRule
from sigma.types import (
    CompareOperators,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaFieldReference,
    SigmaQueryExpression,
    SigmaRegularExpression,
    SigmaString,
)

from lanner.sigma import checks
from lanner.sigma.checks import Checks, find, unsupported
from lanner.sigma.pipeline import ALWAYS, NEVER, lanner_pipeline, log_source
from processor.compiler.checks import errors
from processor.language.ast import Check, Literal, MacroRef, Node
from processor.language.parser import RULE_DEPTH, parse
from processor.language.printer import print_condition

_OPERATORS = {SigmaCorrelationConditionOperator.GTE: "gte", SigmaCorrelationConditionOperator.GT: "gt"}
_ORDER = {CompareOperators.LT: "<", CompareOperators.LTE: "<=", CompareOperators.GT: ">", CompareOperators.GTE: ">="}
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


def _refusing(what: str) -> Any:
    """Return a method that rejects a kind of correlation."""

    def refuse(*_: object) -> Any:
        raise unsupported(f"a correlation by {what}")

    return refuse


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

    convert_correlation_extended_temporal_rule = _refusing("a condition over several rules")
    convert_correlation_extended_temporal_ordered_rule = _refusing("a condition over several rules")
    convert_correlation_value_sum_rule = _refusing("the sum of a field")
    convert_correlation_value_avg_rule = _refusing("the average of a field")
    convert_correlation_value_percentile_rule = _refusing("the percentile of a field")
    convert_correlation_value_median_rule = _refusing("the median of a field")


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


FieldCondition = ConditionFieldEqualsValueExpression


class LannerBackend(CorrelationBackend):
    """Converts Sigma rules into conditions of Lanner's rules.

    collect_errors: collect errors of rules in `errors` instead of raising them. exact_paths: compare paths exactly, so
    that the kernel can select files by name.
    """

    name: ClassVar[str] = "Lanner"
    formats: ClassVar[dict[str, str]] = {"default": "Conditions of Lanner's rules"}
    backend_processing_pipeline: ClassVar[ProcessingPipeline] = lanner_pipeline()

    def __init__(
        self,
        processing_pipeline: ProcessingPipeline | None = None,
        collect_errors: bool = False,  # noqa: FBT001, FBT002  pySigma passes it by position
        *,
        exact_paths: bool = False,
    ) -> None:
        super().__init__(processing_pipeline, collect_errors)
        self._checks = Checks(exact_paths)

    def convert_condition_or(self, cond: ConditionOR, state: ConversionState) -> Node:
        """Convert a disjunction."""
        return checks.any_of([self.convert_condition(each, state) for each in cond.args])

    def convert_condition_and(self, cond: ConditionAND, state: ConversionState) -> Node:
        """Convert a conjunction."""
        return checks.all_of([self.convert_condition(each, state) for each in cond.args])

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> Node:
        """Convert a negation."""
        return checks.negation(self.convert_condition(cond.args[0], state))

    def convert_condition_as_in_expression(self, cond: ConditionOR | ConditionAND, state: ConversionState) -> Node:
        """Convert comparisons of one field, which are merged anyway."""
        return (
            self.convert_condition_or(cond, state)
            if isinstance(cond, ConditionOR)
            else self.convert_condition_and(cond, state)
        )

    def convert_condition_field_eq_val_str(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Convert a text, whose case is ignored."""
        assert isinstance(cond.value, SigmaString)  # noqa: S101
        return self._checks.text(cond.field, cond.value)

    def convert_condition_field_eq_val_str_case_sensitive(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Convert a text with the modifier `cased`."""
        assert isinstance(cond.value, SigmaString)  # noqa: S101
        return self._checks.text(cond.field, cond.value, is_cased=True)

    def convert_condition_field_eq_val_num(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Convert a number."""
        return checks.number(cond.field, str(cond.value))

    def convert_condition_field_eq_val_timestamp_part(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Reject a part of a time."""
        raise unsupported("a part of a time: Lanner has no fields for them")

    def convert_condition_field_eq_val_bool(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Convert true or false."""
        field, kind = checks.find(cond.field)
        if kind != "BOOL":
            return self._checks.text(cond.field, SigmaString(str(cond.value)))
        return Check(field, "=", Literal(str(cond.value).lower()))

    def convert_condition_field_eq_val_re(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Convert a regular expression."""
        assert isinstance(cond.value, SigmaRegularExpression)  # noqa: S101
        return checks.regex(cond.field, cond.value)

    def convert_condition_field_eq_val_cidr(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Convert a network."""
        assert isinstance(cond.value, SigmaCIDRExpression)  # noqa: S101
        return checks.network(cond.field, str(cond.value.network))

    def convert_condition_field_compare_op_val(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Convert `lt`, `lte`, `gt` and `gte`."""
        assert isinstance(cond.value, SigmaCompareExpression)  # noqa: S101
        if cond.value.op == CompareOperators.NEQ:
            return checks.negation(checks.number(cond.field, str(cond.value.number)))
        return checks.number(cond.field, str(cond.value.number), _ORDER[cond.value.op])

    def convert_condition_field_eq_field(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Convert a comparison of two fields."""
        value = cond.value
        assert isinstance(value, SigmaFieldReference)  # noqa: S101
        affix = (value.starts_with, value.ends_with)
        operators = {(True, True): "contains", (True, False): "startswith", (False, True): "endswith"}
        return checks.fields(cond.field, value.field, operators.get(affix, "="))

    def convert_condition_field_eq_val_null(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Convert a field without a value."""
        return checks.negation(Check(checks.find(cond.field)[0], "exists"))

    def convert_condition_field_exists(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Convert a field that has a value."""
        return Check(checks.find(cond.field)[0], "exists")

    convert_condition_field_not_exists = convert_condition_field_eq_val_null

    def convert_condition_field_eq_query_expr(self, cond: FieldCondition, state: ConversionState) -> Node:
        """Return a condition that the pipeline wrote."""
        assert isinstance(cond.value, SigmaQueryExpression)  # noqa: S101
        return _written(cond.value)

    def convert_condition_query_expr(self, cond: ConditionValueExpression, state: ConversionState) -> Node:
        """Return a condition that the pipeline wrote."""
        assert isinstance(cond.value, SigmaQueryExpression)  # noqa: S101
        return _written(cond.value)

    def convert_condition_val_str(self, cond: ConditionValueExpression, state: ConversionState) -> Node:
        """Reject a keyword; the pipeline gives those of commands a field."""
        raise unsupported(f"the keyword '{cond.value}': an event is not a line of a log")

    convert_condition_val_num = convert_condition_val_re = convert_condition_val_str

    def finish_query(self, rule: SigmaRule | SigmaCorrelationRule, query: Any, state: ConversionState) -> Any:
        """Restrict a condition to the events of the rule's log source."""
        if query == checks.NEVER:
            raise unsupported("no event of Lanner can match: all of its selections are about other records")
        if not isinstance(query, ConvertedCorrelation) and (problems := errors(query)):
            raise unsupported(problems[0].message)
        source = log_source(rule.logsource) if isinstance(rule, SigmaRule) else None
        return query if source is None or not source.macro else checks.all_of([MacroRef(source.macro), query])

    def finalize_output_default(self, queries: list[Any]) -> list[Any]:
        """Return conditions as texts, and correlations as they are."""
        return [each if isinstance(each, ConvertedCorrelation) else print_condition(each) for each in queries]


def _written(value: SigmaQueryExpression) -> Node:
    known: dict[str, Node] = {ALWAYS: checks.ALWAYS, NEVER: checks.NEVER}
    return known[value.expr] if value.expr in known else parse(value.expr, RULE_DEPTH)
