"""The rules that this console has, and why one of them matches an alert's event."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from foundation.text import printable
from lanner.ruleset.active import ActiveRules, RuleChoices
from lanner.ruleset.explanation import Explanation, answer, decides_parent, label
from lanner.ruleset.load import load_or_fail
from lanner.tuning.patch import HarmTrial
from processor.detection.explain import Explained, MappingEvaluator, explain, explain_batch
from processor.language.ast import deep
from processor.loading import Rule
from processor.output.formatter import known_fields
from processor.output.redaction import Redaction
from processor.rule import correlations_of
from processor.splitting import stateful_names
from schemas.alert import Alert
from schemas.batch import EventBatch

MAX_NODES = 2_000
MAX_TEXT = 10_000


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """Why a rule matches the event of an alert, or why not."""

    rule: Rule
    found: Explanation
    is_whole: bool
    """True if the event was looked up, so that all of its fields are known."""
    stateful: tuple[str, ...]
    """Macros of the rule that count events."""


class RuleBook:
    """The active rules, and trials of exceptions to them; loaded again when their files have changed."""

    def __init__(self, find: Callable[[], RuleChoices]) -> None:
        """Take what reads the files; it raises BadInput."""
        self._find = find
        self._lock = Lock()
        self._known: tuple[RuleChoices, ActiveRules] | None = None
        self._trial: HarmTrial | None = None

    def trial(self) -> HarmTrial:
        """Return a trial of exceptions on the tests beside the rules. Raises BadInput if they can't be read."""
        files = self._find().files
        with self._lock:
            if self._trial is None or not self._trial.is_current(files):
                self._trial = HarmTrial(files)
            return self._trial

    def rules(self) -> ActiveRules:
        """Return the rules. Raises BadInput if they can't be loaded."""
        choices = self._find()
        with self._lock:
            if self._known is None or self._known[0] != choices:
                self._known = choices, load_or_fail(choices, warnings=False)
            return self._known[1]

    def explain(self, alert: Alert, event: tuple[EventBatch, int] | None) -> RuleExplanation | None:
        """Explain an alert's rule by its event, or else by its own fields; None if it's unknown. Raises BadInput."""
        rule = next((rule for rule in self.rules().rules if rule.name == alert.rule), None)
        if rule is None:
            return None
        if event is not None:
            batch, index = event
            event_type = batch.strings[batch.columns["type"][index]]
            found = answer(explain_batch(rule, batch, index), rule.event_types, event_type)
        else:
            fields = alert.stated if alert.repeats else known_fields(alert.output_fields, alert.event)
            tree = explain(rule, MappingEvaluator(fields, is_partial=True))
            found = answer(tree, rule.event_types, fields.get("evt.type"))
        stateful = stateful_names(rule.condition, correlations_of(self.rules().macros))
        return RuleExplanation(rule, found, event is not None, tuple(stateful))


def explanation_json(explained: RuleExplanation | None, name: str, redaction: Redaction) -> dict[str, Any]:
    """Return an explanation as JSON, every text visible and secrets of the event masked; None is an unknown rule."""
    if explained is None:
        sentence = "This console has no such rule: it has those that rules_files in its settings names."
        none: dict[str, Any] = {key: [] for key in ("exceptions", "stateful", "checks")}
        texts = {"file": "", "condition": "", "answer": "no such rule", "sentence": sentence}
        return {"rule": printable(name), **texts, "is_whole": False, **none}
    rule = explained.rule
    with deep():
        checks = _checks(explained.found.tree, redaction)
    return {
        "rule": printable(rule.name),
        "file": f"{printable(rule.file)}:{rule.line}",
        "condition": "\n".join(map(printable, rule.condition_text.strip().split("\n")))[:MAX_TEXT],
        "exceptions": [printable(name) for name in rule.active_exceptions],
        "answer": explained.found.kind,
        "sentence": redaction.text(explained.found.sentence()),
        "is_whole": explained.is_whole,
        "stateful": [printable(name) for name in explained.stateful],
        "checks": checks,
    }


def _checks(tree: Explained, redaction: Redaction) -> list[dict[str, Any]]:
    """Return the nodes, each after its parent, which it names by place."""
    found: list[dict[str, Any]] = []
    stack = [(tree, -1, True)]
    while stack and len(found) < MAX_NODES:
        node, parent, decides = stack.pop()
        place = len(found)
        text = redaction.text(label(node, whole=True))
        found.append(
            {
                "parent": parent,
                "kind": node.kind,
                "text": text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…",
                "verdict": node.verdict.value,
                "decides": decides,
            }
        )
        stack += [(child, place, decides and decides_parent(node, child)) for child in reversed(node.children)]
    return found
