"""Evaluates rules on events that are JSON and makes alerts of matches. Pure: no clock, no I/O."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bus.connection import fault_text
from processor.compiler.mapping import compile_items
from processor.detection.detector import RuleMatching
from processor.detection.json_pre_matcher import JsonPreMatcher
from processor.fields.json.documents import AuditFields
from processor.matching.gathered import SeenKey
from processor.matching.pre_match import PreMatch
from processor.output.formatter import Rendered, compile_output
from processor.output.redaction import Redact, unredacted
from processor.rules.rule import RuleProtocol, alert_text
from processor.rules.splitting import NO_PLAN, Plan
from schemas.alert import Alert, Value, alert_id, bounded
from schemas.catalog.fields import SYSCALL

_CLUSTER = "ka.cluster.name"


@dataclass(frozen=True, slots=True)
class _Prepared:
    name: str
    priority: str
    tags: tuple[str, ...]
    description: str
    response: str
    matches: Callable[[AuditFields], bool]
    render: Callable[[AuditFields], Rendered]
    extras: tuple[tuple[str, bool, Callable[[AuditFields], Rendered]], ...]
    """Further output fields: name, whether it holds a field value instead of a text, and what formats it."""

    def fields(self, rendered: Rendered, event: AuditFields) -> Mapping[str, Value]:
        """Return the output's fields and the extra ones."""
        fields = dict(rendered.fields)
        for key, is_field, render in self.extras:
            extra = render(event)
            fields |= extra.fields if is_field else {key: extra.text}
        return fields


class AuditDetector:
    """The compiled rules on events that are JSON."""

    def __init__(
        self,
        rules: Sequence[RuleProtocol],
        plan: Plan = NO_PLAN,
        *,
        rule_matching: RuleMatching = "first",
        extra_fields: Mapping[str, Mapping[str, str | None]] = MappingProxyType({}),
        redact: Redact = unredacted,
    ) -> None:
        """Compile the rules, in file order.

        Args:
            rules: those that one event decides; those on system calls are left out.
            plan: the stateful rules of all sources.
            rule_matching: ``first``: an event makes one alert, of the first matching rule; ``all``: one per rule.
            extra_fields: by rule, further output fields: name to format, None for the field itself.
            redact: masks secrets in an alert, after rules were evaluated.

        Raises:
            OutputError: a rule's output cannot be read.
        """
        self._pre_matcher = JsonPreMatcher(plan, self._fault, extra_fields)
        self.plan = plan
        self._rules: dict[str, list[_Prepared]] = {}
        for rule in rules:
            if rule.source != SYSCALL:
                self._rules.setdefault(rule.source, []).append(_prepared(rule, extra_fields.get(rule.name, {})))
        self._first_only = rule_matching == "first"
        self._redact = redact
        self.events = 0
        """Events evaluated."""
        self.faults: Counter[str] = Counter()
        """By rule or stateful macro, how often evaluating it or formatting its output raised."""
        self.first_errors: dict[str, str] = {}
        """The first error of each that raised."""

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The active rules, by source and in order, then the stateful ones."""
        return tuple(name for name, _ in self.priorities)

    @property
    def priorities(self) -> tuple[tuple[str, str], ...]:
        """Each active rule with its priority."""
        found = [(rule.name, rule.priority) for rules in self._rules.values() for rule in rules]
        return (*found, *((rule.name, rule.priority) for rule in self._pre_matcher.rules))

    def names_of(self, source: str) -> tuple[str, ...]:
        """Return the active rules on one source, in order."""
        return tuple(rule.name for rule in self._rules.get(source, ()))

    @property
    def sources(self) -> frozenset[str]:
        """The sources whose events matter to active rules."""
        return frozenset(self._rules) | self._pre_matcher.sources

    def process(self, event: AuditFields) -> list[Alert]:
        """Return the alerts of one event."""
        self.events += 1
        found: list[Alert] = []
        for rule in self._rules.get(event.source.name, ()):
            try:
                if not rule.matches(event):
                    continue
                found.append(self._alert(rule, event))
            except Exception as problem:  # noqa: BLE001  an error in one rule must not stop the others
                self._fault(rule.name, problem)
                continue
            if self._first_only:
                break
        return found

    def pre_matches(self, event: AuditFields, appended: int = 0) -> list[PreMatch]:
        """Return what stateful rules need of an event.

        Args:
            event: the event.
            appended: when the broker received it, ns since the epoch; 0 if none did.
        """
        return self._pre_matcher.process(event, appended)

    def forget_sent(self, values: Iterable[SeenKey]) -> None:
        """Send values of first_seen again when they come: they were left out."""
        self._pre_matcher.forget_sent(values)

    def _fault(self, name: str, problem: BaseException) -> None:
        self.faults[name] += 1
        self.first_errors.setdefault(name, fault_text(problem))

    def _alert(self, rule: _Prepared, event: AuditFields) -> Alert:
        rendered = rule.render(event)
        cluster = event[_CLUSTER]
        alert = Alert(
            # The stated time: the one within range depends on when the event arrived, and it may arrive twice.
            id=alert_id(event.stated_time, rule.name, *event.identity),
            time=event.time,
            hostname=event.hostname,
            rule=rule.name,
            priority=rule.priority,
            output=rendered.text,
            output_fields=rule.fields(rendered, event),
            tags=rule.tags,
            source=event.source.name,
            event=event.row(),
            cluster_name=cluster if isinstance(cluster, str) else "",
            description=rule.description,
            response=rule.response,
        )
        return self._redact(bounded(alert))


def _prepared(rule: RuleProtocol, extra_fields: Mapping[str, str | None]) -> _Prepared:
    return _Prepared(
        rule.name,
        str(rule.priority),
        tuple(sorted(rule.tags)),
        alert_text(rule.description),
        alert_text(rule.response),
        compile_items(rule.condition),
        compile_output(rule.output, transformers=False).compile_items(),
        tuple(
            (key, form is None, compile_output(f"%{key}" if form is None else form).compile_items())
            for key, form in extra_fields.items()
        ),
    )
