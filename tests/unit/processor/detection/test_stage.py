from collections.abc import Callable

import pytest

from processor.detection.stage import DetectStage, compile_ruleset
from processor.detection.view import BatchView, DocumentView, EventView
from processor.evaluator import Evaluator
from processor.fields.json.documents import read_events
from processor.loading import RuleFile, load_rules
from processor.output.internal_alerts import RULE_FAILED
from tests.unit.processor.batches import batch_of
from tests.unit.processor.detection.requests import TIME, line, request

RULES = "- {rule: Get, desc: d, condition: ka.verb = get, output: o, priority: NOTICE, source: k8s_audit}"


def _batch() -> EventView:
    return BatchView(batch_of({"type": "openat"}))


def _document() -> EventView:
    (event,) = read_events(line(request()))
    return DocumentView(event, TIME)


@pytest.mark.parametrize("views", [(_batch, _document), (_document, _batch)])
def test_each_error_is_reported_once(views: tuple[Callable[[], EventView], ...]) -> None:
    """Whichever events come next report it, with the first error; other rules count from zero."""
    rules = compile_ruleset((), {})
    stage, (first, second) = DetectStage(rules), (make() for make in views)
    assert not stage.notices(first)
    rules.detector.faults["Get"] = 2
    rules.detector.first_errors["Get"] = "KeyError: x"
    (pre_match,) = first.notices(stage.notices(first))
    assert pre_match.notice is not None
    assert (pre_match.notice.kind, dict(pre_match.notice.numbers)) == (RULE_FAILED, {"Get": 2})
    assert "KeyError: x" in pre_match.notice.text
    assert not stage.notices(first)
    assert not stage.notices(second)
    stage.change_rules(rules)
    assert stage.notices(second)


def test_a_rule_that_raises_is_an_alert_on_a_single_host() -> None:
    """As in a fleet, so that nobody relies on a rule that does not work."""
    evaluator = Evaluator(compile_ruleset(load_rules([RuleFile("r.yaml", RULES)]).rules, {}))
    evaluator.rules.detector.faults["Get"] = 1
    evaluator.rules.detector.first_errors["Get"] = "KeyError: x"
    (event,) = read_events(line(request()))
    found = [alert.rule for alert in evaluator.process(event, TIME)]

    assert found == ["Get", "Lanner internal: rule failed"]
