"""The detection engine for other programs: load rules from files or text, evaluate events given as mappings.

Errors in rules are values, not exceptions. Starts no thread, prints nothing, and reads only the rule files.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from processor.compiler.mapping import compile_mapping
from processor.detection.explain import Explained, MappingEvaluator, explain
from processor.loading import Priority, Problem, Rule, RuleFile, read_rule_files
from processor.loading import load_rules as load_files
from processor.loading.rules import Switch, apply_switches
from processor.output.formatter import OutputFormat, compile_output, indicator_checks
from schemas.catalog.fields import SYSCALL

__all__ = ["Explained", "Match", "Priority", "Problem", "Rule", "Rules", "load_rules"]

Event = Mapping[str, Any]
"""Values by field name: {"evt.type": "openat", "fd.name": "/etc/shadow"}. None or an absent key: no value."""


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that matched an event."""

    rule: str
    priority: str
    """Emergency, Alert, Critical, Error, Warning, Notice, Informational or Debug."""
    output: str
    """The rule's output with the event's values filled in."""
    output_fields: Mapping[str, Any]
    """The fields that the output names; None if the event has no value."""
    tags: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class _Compiled:
    rule: Rule
    evaluate: Any
    output: OutputFormat


class Rules:
    """Loaded rules, ready to evaluate events."""

    def __init__(self, errors: Sequence[Problem], warnings: Sequence[Problem], rules: Sequence[Rule]) -> None:
        self.errors = tuple(errors)
        """All errors: each has code, message, hint, file, line and column."""
        self.warnings = tuple(warnings)
        """Rules that load but are likely mistakes."""
        self.rules = tuple(rules)
        """All rules in evaluation order, including disabled ones; empty if there are errors."""
        self._compiled: dict[tuple[str, str], list[_Compiled]] = {}

    @property
    def ok(self) -> bool:
        """True if there are no errors."""
        return not self.errors

    def enable(self, pattern: str = "*", *, tag: str | None = None) -> "Rules":
        """Return these rules with some enabled.

        Args:
            pattern: name of a rule; `*` matches any text.
            tag: enable rules with this tag instead.
        """
        return self._switched(enable=True, pattern=pattern, tag=tag)

    def disable(self, pattern: str = "*", *, tag: str | None = None) -> "Rules":
        """Return these rules with some disabled.

        Args:
            pattern: name of a rule; `*` matches any text.
            tag: disable rules with this tag instead.
        """
        return self._switched(enable=False, pattern=pattern, tag=tag)

    def _switched(self, *, enable: bool, pattern: str, tag: str | None) -> "Rules":
        switch = Switch(enable, "rule", pattern) if tag is None else Switch(enable, "tag", tag)
        return Rules(self.errors, self.warnings, apply_switches(self.rules, [switch]))

    def matches(self, event: Event, *, matching: Literal["first", "all"] = "all") -> list[Match]:
        """Evaluate the enabled rules on an event.

        Events are evaluated independently: a stateful macro is true if the event counts for it; no window is stored.
        Rules of Python files match nothing: their functions run only in Lanner's own processes.

        Args:
            event: values by field name. evt.source is ``syscall`` by default; an event of that source needs evt.type.
            matching: ``first`` returns at most one match, of the first rule in order.
        """
        source = event.get("evt.source", SYSCALL)
        event_type = event.get("evt.type") if source == SYSCALL else ""
        if not isinstance(event_type, str):
            return []
        found: list[Match] = []
        for each in self._for_type(source, event_type):
            if each.rule.python is not None or not each.evaluate(event):
                continue
            rendered = each.output.fill(event)
            rule = each.rule
            found.append(Match(rule.name, str(rule.priority), rendered.text, rendered.fields, rule.tags, rule.source))
            if matching == "first":
                break
        return found

    def explain(self, rule: str, event: Event) -> Explained:
        """Return a rule's condition as a tree that shows what each part evaluated to.

        Args:
            rule: name of the rule.
            event: values by field name.

        Raises:
            KeyError: No rule has this name.
        """
        found = next((each for each in self.rules if each.name == rule), None)
        if found is None:
            raise KeyError(rule)
        return explain(found, MappingEvaluator(event))

    def _for_type(self, source: str, event_type: str) -> list[_Compiled]:
        if (source, event_type) not in self._compiled:
            self._compiled[source, event_type] = [
                _Compiled(
                    rule,
                    compile_mapping(rule.condition),
                    compile_output(rule.output, transformers=False, found=indicator_checks(rule.condition)),
                )
                for rule in self.rules
                if rule.enabled and rule.source == source and (source != SYSCALL or event_type in rule.event_types)
            ]
        return self._compiled[source, event_type]


def load_rules(*paths: str | Path, text: str | Iterable[str] = ()) -> Rules:
    """Load rules from files and text; errors are in the result.

    Args:
        paths: rule files and folders of rule files, in evaluation order.
        text: one or several rule files as text; they follow those of `paths`.
    """
    texts = [text] if isinstance(text, str) else list(text)
    files = read_rule_files(paths)
    files += [
        RuleFile(f"<text {number}>" if len(texts) > 1 else "<text>", each) for number, each in enumerate(texts, 1)
    ]
    result = load_files(files)
    return Rules(result.errors, result.warnings, result.rules if result.ok else ())
