"""Evaluates rules on events and makes alerts of matches.

Pure: no clock, no I/O. The live pipeline, the Faust agent, replay and rule tests are shells around this.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from bus.connection import fault_text
from processor.compiler.batch import compile_rules
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.repeats import FoundAlert, MessageRepeats, RepeatedAlerts
from processor.detection.view import At, EventView, ExtraFields, extra_fields, read_extra
from processor.language.ast import Node, checks, literals
from processor.output.formatter import OutputFormat, compile_output, indicator_checks, suggested
from processor.rule import DEFAULT_OPTIONS, Rule, RulesetOptions, alert_text
from processor.sessions.sessions import People
from schemas.alert import Alert, Value, alert_id
from schemas.catalog.fields import SYSCALL
from schemas.distinct_values import masked

_ALL = RepeatedAlerts(None)
"""Sends every alert."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a function found in an event beside the rule's output."""

    text: str = ""
    fields: Mapping[str, Value] = field(default_factory=dict)
    number: int = 0
    """How many alerts of the rule and event came before."""


_CONDITION_ONLY = Found()


@dataclass(frozen=True, slots=True)
class _Prepared:
    rule: str
    priority: str
    tags: tuple[str, ...]
    source: str
    description: str
    response: str
    format: Callable[[], OutputFormat]
    extras: ExtraFields
    files: frozenset[str]
    """The files that the condition names."""


class Detector:
    """Compiled rules with their counters."""

    def __init__(self, rules: Sequence[Rule], options: RulesetOptions = DEFAULT_OPTIONS) -> None:
        """Compile the rules, in file order.

        Args:
            rules: enabled rules, of all sources.
            options: how to compile them.

        Raises:
            OutputError: a rule's output cannot be read.
        """
        self._rules = [
            _Prepared(
                rule.name,
                str(rule.priority),
                tuple(sorted(rule.tags)),
                rule.source,
                alert_text(rule.description),
                alert_text(rule.response),
                cache(partial(_format, rule, options)),
                extra_fields(options.extra_fields.get(rule.name, {}), rule.source),
                _named_files(rule.condition),
            )
            for rule in rules
        ]
        if not options.has_checked_outputs:
            for each in self._rules:
                each.format()
        self._redact = options.redact
        self._mask = partial(masked, redact=options.redact)
        self._first_only = options.rule_matching == "first"
        self.sources = frozenset(rule.source for rule in rules)
        """The sources whose events matter to any rule."""
        self.compiled = compile_rules(
            [rule.condition for rule in rules],
            [frozenset({rule.source}) for rule in rules],
            None if options.classes is None else options.classes[0],
        )
        self.event_types: frozenset[str] = frozenset(self.compiled.matchers)
        """The event types that a rule can match: the collector must collect them."""
        self.conditions: tuple[Node, ...] = tuple(rule.condition for rule in rules if rule.source == SYSCALL)
        """The conditions on system calls, from which the pushdown filter is derived."""
        self.events = 0
        """Events evaluated."""
        self.faults: Counter[str] = Counter()
        """By rule, how often evaluating it or formatting its output raised."""
        self.first_errors: dict[str, str] = {}
        """The first error of each rule that raised."""

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The active rules on system calls, in order, as their conditions."""
        return tuple(rule.rule for rule in self._rules if rule.source == SYSCALL)

    @property
    def active(self) -> tuple[tuple[str, str, str], ...]:
        """Each active rule with its priority and its source, in order."""
        return tuple((rule.rule, rule.priority, rule.source) for rule in self._rules)

    def process(
        self,
        view: EventView,
        budget: Budget | None = None,
        repeats: MessageRepeats | None = None,
        people: People | None = None,
    ) -> list[Alert]:
        """Evaluate all events of a batch or document, in order.

        Args:
            view: the events.
            budget: what they may cost; its alerts are those found, also where it is exceeded. None for no limits.
            repeats: counts alerts that repeat others; None to return all.
            people: names who did it; None if nobody is known.

        Raises:
            OverBudget: they cost more; the events behind are not evaluated.
        """
        budget = Budget(BOUNDLESS) if budget is None else budget
        repeats = _ALL.begin() if repeats is None else repeats
        self.events += view.count
        for index, hits in view.hits(self.compiled, self._fault, budget):
            for rule_index, name in hits:
                budget.count_result()
                try:
                    alert = self._alert(self._rules[rule_index], view, (index, name), budget, repeats, people=people)
                except Exception as problem:  # noqa: BLE001  an error in one rule must not stop the others
                    self._fault(rule_index, problem)
                    continue
                if alert is not None:
                    budget.alerts.append(alert)
                if self._first_only:
                    break
        return budget.alerts

    def _fault(self, index: int, problem: BaseException) -> None:
        rule = self._rules[index].rule
        self.faults[rule] += 1
        self.first_errors.setdefault(rule, fault_text(problem))

    def _alert(
        self,
        rule: _Prepared,
        view: EventView,
        at: At,
        budget: Budget,
        repeats: MessageRepeats,
        *,
        people: People | None,
        found: Found = _CONDITION_ONLY,
    ) -> Alert | None:
        index, name = at
        time = view.time(index)
        stated, parts = view.identity(index)
        identity = alert_id(stated, rule.rule, *parts, *((found.number,) if found.number else ()))
        rendered = view.read(rule.format(), at)
        fields = read_extra(view, rule.extras, at, rendered.fields)
        fields = {**fields, **found.fields} if found.fields else fields
        output = f"{rendered.text} {found.text}" if found.text else rendered.text

        def make() -> Alert:
            alert = Alert(
                id=identity,
                time=time,
                rule=rule.rule,
                priority=rule.priority,
                output=output,
                output_fields=fields,
                tags=rule.tags,
                source=rule.source,
                hostname=view.hostname,
                host_id=view.host_id,
                event=view.row(at),
                cluster_name=view.cluster_name,
                description=rule.description,
                response=rule.response,
            )
            named = alert if people is None else people.name_alert(index, alert)
            return self._redact(budget.bounded(named))

        person = "" if people is None else people.user_of(index)
        made = FoundAlert(identity, rule.rule, output, fields, name, person, rule.files, make, self._mask)
        return repeats.take(view, index, made)


def _format(rule: Rule, options: RulesetOptions) -> OutputFormat:
    return compile_output(
        rule.output,
        suggested(rule.output) if options.appends_container(rule.name, rule.source) else {},
        transformers=False,
        source=rule.source,
        found=indicator_checks(rule.condition),
    )


def _named_files(condition: Node) -> frozenset[str]:
    return frozenset(
        literal.text
        for check in checks(condition)
        if check.operator in ("=", "==", "in")
        for literal in literals(check)
        if literal.text.startswith("/")
    )
