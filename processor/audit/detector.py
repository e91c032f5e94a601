"""Evaluates rules on events that are JSON and makes alerts of matches. Pure: no clock, no I/O."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from bus.errors.unavailable import fault_text
from processor.compiler.mapping import compile_items
from processor.correlation.plan.spec import Correlation, Suppress
from processor.correlation.plan.split import split_rules
from processor.detection.detector import RuleMatching
from processor.detection.redaction import Redact, unredacted
from processor.fields.audit.event_fields import AuditFields
from processor.output.formatter import Rendered, compile_output
from processor.rule import RuleProtocol, alert_text
from schemas.alert import Alert, Value, alert_id, bounded
from schemas.catalogue.priorities import Priority
from schemas.catalogue.sources import SYSCALL

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
        correlations: Mapping[str, Correlation] = MappingProxyType({}),
        suppressed: Mapping[str, Suppress] = MappingProxyType({}),
        *,
        minimum_priority: Priority = Priority.DEBUG,
        rule_matching: RuleMatching = "first",
        extra_fields: Mapping[str, Mapping[str, str | None]] = MappingProxyType({}),
        redact: Redact = unredacted,
    ) -> None:
        """Compile the rules, in file order.

        Args:
            rules: enabled rules; those of lower severity than the minimum and those on system calls are left out.
            correlations: of stateful macros, by name.
            suppressed: how repeats of a rule are suppressed, by rule name.
            minimum_priority: the lowest severity to evaluate.
            rule_matching: ``first``: an event makes one alert, of the first matching rule; ``all``: one per rule.
            extra_fields: by rule, further output fields: name to format, None for the field itself.
            redact: masks secrets in an alert, after rules were evaluated.

        Raises:
            OutputError: a rule's output cannot be read.
        """
        selected = [rule for rule in rules if rule.priority <= minimum_priority and rule.source != SYSCALL]
        split = split_rules(selected, correlations, suppressed)
        self.stateful = tuple(rule.name for rule in split.plan.rules)
        """The rules that are left out because they need windows."""
        self._rules: dict[str, list[_Prepared]] = {}
        for rule in split.stateless:
            self._rules.setdefault(rule.source, []).append(_prepared(rule, extra_fields.get(rule.name, {})))
        self._first_only = rule_matching == "first"
        self._redact = redact
        self.events = 0
        """Events evaluated."""
        self.faults: Counter[str] = Counter()
        """By rule, how often evaluating it or formatting its output raised."""
        self.first_errors: dict[str, str] = {}
        """The first error of each rule that raised."""

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The active rules, by source and in order."""
        return tuple(rule.name for rules in self._rules.values() for rule in rules)

    @property
    def priorities(self) -> tuple[tuple[str, str], ...]:
        """Each active rule with its priority."""
        return tuple((rule.name, rule.priority) for rules in self._rules.values() for rule in rules)

    @property
    def sources(self) -> frozenset[str]:
        """The sources that active rules name."""
        return frozenset(self._rules)

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
                self.faults[rule.name] += 1
                self.first_errors.setdefault(rule.name, fault_text(problem))
                continue
            if self._first_only:
                break
        return found

    def _alert(self, rule: _Prepared, event: AuditFields) -> Alert:
        rendered = rule.render(event)
        source, document = event.source, event.document
        row: dict[str, Any] = {name: value for name in source.row if (value := event[name]) not in (None, ())}
        # The stated time: the one within range depends on when the event arrived, and it may arrive twice.
        key = source.key(document) or (_content(document),)
        return self._redact(
            bounded(
                Alert(
                    id=alert_id(event.stated_time, rule.name, source.name, *key),
                    time=event.time,
                    hostname=_text(source.host(document)),
                    rule=rule.name,
                    priority=rule.priority,
                    output=rendered.text,
                    output_fields=rule.fields(rendered, event),
                    tags=rule.tags,
                    source=source.name,
                    event=row,
                    cluster_name=_text(event[_CLUSTER]),
                    description=rule.description,
                    response=rule.response,
                )
            )
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _content(document: Any) -> str:
    """Return what identifies an event without a key: an event that is delivered again has the same content."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


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
