"""Generates test cases from an alert, or from the alerts that the active rules raise on a recording.

A case can't state what the alert lacks; run it once and add what is missing.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from foundation.yaml.mappings import Fields
from foundation.yaml.text import yaml_scalar
from lanner.errors import BadInput
from lanner.ruleset.active import ActiveRules
from lanner.ruleset.compile import CompiledDetection
from lanner.ruletest.events.events import write_event
from lanner.ruletest.given import GivenAlert, choose_given, given_alert, is_recording, recorded_batches
from lanner.ruletest.model import Suite
from lanner.ruletest.reading import read_suite
from lanner.ruletest.running import RuleSet, Runner, rules_to_evaluate
from processor.compiler.transformers import as_text
from processor.detection.detector import Detector
from processor.detection.view import BatchView
from processor.rule import RuleMatching
from schemas.batch import EventBatch

_RETAINED = frozenset({"evt.time", "evt.rawtime", "evt.num", "proc.pid", "proc.ppid", "thread.tid", "evt.hostname"})


def case_text(name: str, events: Iterable[Mapping[str, Any]], rule: str, priority: str, fields: Fields) -> str:
    """Return a case as YAML.

    events are results of `write_event`; of the alert's fields, those that differ with each run are omitted.
    """
    shown = {
        key: as_text(value)
        for key, value in fields.items()
        if value not in (None, "<NA>") and key not in _RETAINED and not key.startswith("evt.time")
    }
    lines = [f"  - name: {yaml_scalar(name)}", "    given:"]
    lines += [f"      - {flow_text(event)}" for event in events]
    lines += ["    expect:", f"      - rule: {yaml_scalar(rule)}", f"        priority: {yaml_scalar(priority)}"]
    if shown:
        lines.append("        output_fields:")
        lines += [f"          {yaml_scalar(key)}: {yaml_scalar(value)}" for key, value in shown.items()]
    return "\n".join(lines) + "\n"


def quiet_case_text(name: str, events: Iterable[Mapping[str, Any]], rule: str) -> str:
    """Return a case about a rule that expects no alert, as YAML; events are results of `write_event`."""
    lines = [f"  - name: {yaml_scalar(name)}", "    given:"]
    lines += [f"      - {flow_text(event)}" for event in events]
    return "\n".join([*lines, "    expect: none", f"    about: {yaml_scalar(rule)}"]) + "\n"


def flow_text(value: Any) -> str:
    """Write a value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{yaml_scalar(str(key))}: {flow_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow_text, value)) + "]"
    return yaml_scalar(as_text(value))


_HEAD = "cases:\n"
_MOST = 100


def cases_from(source: str, active: Callable[[], ActiveRules], compiled: Callable[[], CompiledDetection]) -> str:
    """Return test cases as the text of a test file; for a recording, the first match of each rule. Raises BadInput.

    source: path of an alert as JSON or of a recording, or the alert itself. active: returns the rules to try a case
    against; compiled: returns them compiled, to evaluate on a recording.
    """
    path = Path(source) if source.lstrip()[:1] != "{" else None
    if path is not None and path.exists() and is_recording(path):
        cases = _of_recording(compiled().ruleset.detector, path)
        if not cases:
            raise BadInput(f"{path}: the active rules match nothing in it.")
    else:
        alert = given_alert(choose_given(source))
        if alert is None:
            raise BadInput(f"{source}: not an alert: it has no output_fields.")
        cases = [_of_alert(alert)]
    loaded = active()
    runners = _Runners(RuleSet(loaded.rules, loaded.macros, loaded.enrichments))
    return _HEAD + "".join(_tried(case, runners) for case in cases)


def case_of_alert(alert: GivenAlert, loaded: ActiveRules) -> str:
    """Return a test case for an alert as the text of a test file, tried against rules. Raises BadInput."""
    rules = RuleSet(loaded.rules, loaded.macros, loaded.enrichments)
    return _HEAD + _tried(_of_alert(alert), _Runners(rules))


def _of_alert(alert: GivenAlert) -> str:
    if not {"evt.type", "proc.name"} <= alert.fields.keys():
        raise BadInput("the alert has neither evt.type nor proc.name: add them to the rule's output.")
    name = f"{alert.fields['proc.name']} does {alert.fields['evt.type']}"
    return case_text(name, [write_event(alert.fields)], alert.rule, alert.priority, alert.fields)


def _of_recording(detector: Detector, path: Path) -> list[str]:
    found: dict[str, str] = {}
    for batch in recorded_batches(path):
        for alert in detector.process(BatchView(batch)):
            if alert.rule in found or len(found) >= _MOST:
                continue
            number = alert.event.get("evt.num")
            fields = {**alert.output_fields, **alert.event, **_arguments(batch, number)}
            name = f"{fields.get('proc.name')} does {fields.get('evt.type')} (event {number} of {path.name})"
            found[alert.rule] = case_text(name, [write_event(fields)], alert.rule, alert.priority, alert.output_fields)
    return list(found.values())


def _arguments(batch: EventBatch, number: object) -> dict[str, str]:
    if not isinstance(number, int):
        return {}
    index = number - batch.first_number
    columns, strings = batch.columns, batch.strings
    slots = range(columns["arg_start"][index], columns["arg_start"][index + 1])
    pairs = ((strings[columns["arg_name"][slot]], strings[columns["arg_value"][slot]]) for slot in slots)
    return {f"evt.arg.{name}": value for name, value in pairs if value is not None}


class _Runners:
    """Compiles the rules once for all cases that need the same of them."""

    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules
        self._runners: dict[tuple[RuleMatching, tuple[str, ...]], Runner] = {}

    def failures(self, suite: Suite, matching: RuleMatching) -> list[str]:
        """Run the cases of a file; return what doesn't fit."""
        key = (matching, tuple(rule.name for rule in rules_to_evaluate(suite, self.rules.rules)))
        if key not in self._runners:
            self._runners[key] = Runner(suite, self.rules, matching, lambda _path: ())
        return [failure.message for case in suite.cases for failure in self._runners[key].run(case).failures]


def _tried(case: str, runners: _Runners) -> str:
    """Run a generated case, and add comments on what doesn't fit."""
    suite, problems = read_suite("case_test.yaml", _HEAD + case)
    if problems:
        return f"  # To be completed: {problems[0].message}.\n{case}"
    known = {rule.name for rule in runners.rules.rules}
    if any(expected.rule not in known for each in suite.cases for expected in each.expected):
        return f"  # Not tried: the rule isn't active.\n{case}"
    lines = min((runners.failures(suite, matching) for matching in get_args(RuleMatching)), key=len)
    notes = "".join(f"  # To be completed: {' '.join(line.split())}.\n" for line in lines)
    return notes + case
