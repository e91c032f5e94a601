"""Rules whose functions decide about the events that match their conditions, and functions that enrich alerts.

Conditions are compiled as those of other rules, so what is evaluated in the kernel and in collectors stays sound. The
functions of one file run in a process of their own, and are called once for all events of a batch.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.detector import Detector, Found
from processor.detection.pre_matcher import Fields
from processor.detection.repeats import MessageRepeats, RepeatedAlerts
from processor.detection.view import At, EventView
from processor.loading.rules import Switch
from processor.output.redaction import Redact
from processor.python.process import FunctionCall, PythonProcess
from processor.rule import PythonFunction, Rule, RulesetOptions
from processor.sessions.sessions import People
from schemas.alert import Alert, Value


@dataclass(frozen=True, slots=True)
class _Use:
    process: PythonProcess
    function: int
    """Its index in the process."""
    name: str


class PythonRules(Detector):
    """The rules and the enriching functions of Python files, with their processes."""

    def __init__(self, rules: Sequence[Rule], others: Sequence[Rule], options: RulesetOptions) -> None:
        """Compile the conditions; processes start with `begin`, or the first event.

        Args:
            rules: enabled rules of Python files.
            others: enabled rules that single events decide, which functions may enrich.
            options: how to compile them.

        Raises:
            OutputError: a rule's output cannot be read.
        """
        super().__init__(rules, replace(options, classes=None))
        functions = [rule.python for rule in rules if rule.python is not None]
        uses = _processes([*functions, *(each.function for each in options.enrichments)], options)
        self.processes = tuple({id(use.process): use.process for use in uses}.values())
        """One for each file."""
        self._uses = uses[: len(functions)]
        self._fields = [Fields.of(each.fields, rule.source) for each, rule in zip(functions, rules, strict=True)]
        self._redact_enriched: Redact = options.redact
        self._enriching: dict[str, list[_Use]] = defaultdict(list)
        for each, use in zip(options.enrichments, uses[len(functions) :], strict=True):
            switches = [Switch(enable=True, by="rule", pattern=pattern) for pattern, _ in each.rules]
            for rule in (*rules, *others):
                if any(switch.matches(rule) for switch in switches):
                    self._enriching[rule.name].append(use)

    def begin(self) -> None:
        """Start the processes without waiting until they are ready; functions that ran before forget their state."""
        for process in self.processes:
            process.begin()

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.close()

    def process(
        self,
        view: EventView,
        budget: Budget | None = None,
        repeats: MessageRepeats | None = None,
        people: People | None = None,
    ) -> list[Alert]:
        """Call the functions for the events that match, and add their alerts to those of the budget.

        An event is evaluated by all rules of Python files, whatever other rules it matches.

        Args:
            view: the events.
            budget: what they may cost; None for no limits.
            repeats: counts alerts that repeat others; None to return all.
            people: names who did it; None if nobody is known.

        Raises:
            OverBudget: they cost more.
        """
        budget = Budget(BOUNDLESS) if budget is None else budget
        repeats = RepeatedAlerts(None).begin() if repeats is None else repeats
        asked: dict[int, list[tuple[int, At, FunctionCall]]] = defaultdict(list)
        for index, hits in view.hits(self.compiled, self._fault, budget):
            for rule_index, name in hits:
                budget.count_result()
                use, at = self._uses[rule_index], (index, name)
                values = view.read(self._fields[rule_index], at)
                asked[id(use.process)].append((rule_index, at, FunctionCall(use.function, values)))
        for process in self.processes if asked else ():
            calls = asked.get(id(process), [])
            answer = process.ask([call for _, _, call in calls], has_deadline=budget.is_bounded)
            for position, text in answer.faults:
                self._count_fault(self._rules[calls[position][0]].rule, text)
            numbers: Counter[int] = Counter()
            for position, text, fields in answer.results:
                rule_index, at, _ = calls[position]
                budget.count_result()
                shown = text or " ".join(f"{name}={value}" for name, value in fields.items())
                found = Found(shown, fields, numbers[position])
                numbers[position] += 1
                try:
                    rule = self._rules[rule_index]
                    alert = self._alert(rule, view, at, budget, repeats, people=people, found=found)
                except Exception as problem:  # noqa: BLE001  an error in one rule must not stop the others
                    self._fault(rule_index, problem)
                    continue
                if alert is not None:
                    budget.alerts.append(alert)
        return budget.alerts

    def enrich(self, budget: Budget) -> None:
        """Add the output fields of functions to the alerts of a budget."""
        asked: dict[int, list[tuple[int, _Use, FunctionCall]]] = defaultdict(list)
        for index, alert in enumerate(budget.alerts if self._enriching else ()):
            for use in self._enriching.get(alert.rule, ()):
                known = {"evt.hostname": alert.hostname, **alert.event, **alert.output_fields}
                asked[id(use.process)].append((index, use, FunctionCall(use.function, known)))
        for process in self.processes if asked else ():
            calls = asked.get(id(process), [])
            answer = process.ask([call for _, _, call in calls], has_deadline=budget.is_bounded)
            for position, text in answer.faults:
                self._count_fault(calls[position][1].name, text)
            for position, _, fields in answer.results:
                index = calls[position][0]
                alert = budget.alerts[index]
                more: Mapping[str, Value] = {**fields, **alert.output_fields}
                fitting = budget.bounded(replace(alert, output_fields=more))
                budget.alerts[index] = self._redact_enriched(fitting)

    def _count_fault(self, name: str, text: str) -> None:
        self.faults[name] += 1
        self.first_errors.setdefault(name, text)


def _processes(functions: Sequence[PythonFunction], options: RulesetOptions) -> list[_Use]:
    """Return a process for each file, and the index of each function in it."""
    files: dict[tuple[str, str], list[PythonFunction]] = defaultdict(list)
    for each in functions:
        files[each.file, each.code].append(each)
    processes = {
        key: PythonProcess(*key, [(each.name, each.fields) for each in named], options.python)
        for key, named in files.items()
    }
    places = {key: iter(range(len(named))) for key, named in files.items()}
    return [
        _Use(processes[each.file, each.code], next(places[each.file, each.code]), f"@enrich {each.name}()")
        for each in functions
    ]
