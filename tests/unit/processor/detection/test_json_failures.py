from processor.detection.json_failures import RuleFailures
from processor.evaluator import Evaluator, compile_ruleset
from processor.fields.json.documents import read_events
from processor.loading import RuleFile, load_rules
from tests.unit.processor.detection.requests import TIME, line, request

RULES = "- {rule: Get, desc: d, condition: ka.verb = get, output: o, priority: NOTICE, source: k8s_audit}"


def test_each_error_is_reported_once() -> None:
    """The text has the first error; the same event delivered again has the same position."""
    rules, failures = compile_ruleset((), {}, {}), RuleFailures()
    assert not failures.fresh(rules, TIME, (0, 1))
    rules.detector.faults["Get"] = 2
    rules.detector.first_errors["Get"] = "KeyError: x"
    (pre_match,) = failures.fresh(rules, TIME, (0, 2))
    assert pre_match.notice is not None
    assert (dict(pre_match.notice.numbers), pre_match.origin.sequence) == ({"Get": 2}, 2)
    assert "KeyError: x" in pre_match.notice.text
    assert not failures.fresh(rules, TIME, (0, 3))
    failures.forget()
    assert failures.fresh(rules, TIME, (0, 4))


def test_a_rule_that_raises_is_an_alert_on_a_single_host() -> None:
    """As in a fleet, so that nobody relies on a rule that does not work."""
    evaluator = Evaluator(compile_ruleset(load_rules([RuleFile("r.yaml", RULES)]).rules, {}, {}))
    evaluator.rules.detector.faults["Get"] = 1
    evaluator.rules.detector.first_errors["Get"] = "KeyError: x"
    (event,) = read_events(line(request()))
    found = [alert.rule for alert in evaluator.process(event, TIME)]

    assert found == ["Get", "Lanner internal: rule failed"]
