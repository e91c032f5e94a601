"""Correlations over rules, through both stages."""

from dataclasses import replace

from processor.evaluator import Evaluator, compile_ruleset
from processor.loading import RuleFile, load_rules
from tests.unit.processor.correlation.rules import Host, evaluator_of, rule

RULES = "".join(
    rule(condition, name.lower(), "tags: [tactic]", name=name)
    for name, condition in (
        ("Download", "evt.type = openat and proc.name = curl"),
        ("Run", "evt.type = execve and proc.name = evil"),
        ("Accept", "evt.type = accept4"),
        ("Accept from one", 'evt.type = accept4 and fd.cip = "10.0.0.9"'),
    )
)
THREE = """
- macro: three_rules
  correlation:
    type: value_count
    rules: {tags: [tactic]}
    group-by: [evt.hostname]
    timespan: 10m
    condition: {field: rule, gte: 3}
"""
ORDERED = """
- macro: in_order
  correlation: {type: temporal_ordered, rules: [Download, Run], group-by: [evt.hostname], timespan: 10m}
"""
ANY = """
- macro: often
  correlation: {type: event_count, rules: [Download, Accept], timespan: 10m, condition: {gte: 3}}
"""


def test_three_different_rules_on_one_host() -> None:
    """A rule that matches twice counts once; hosts count separately; the rules' own alerts are sent as well."""
    evaluator = evaluator_of(THREE, rule("three_rules", "%correlation.values", name="Three"), RULES)
    one, other = Host("web-1"), Host("web-2")
    batches = (one.download(0), one.accept(1), one.accept(2), other.run(3), one.run(4))

    found = [(alert.rule, alert.output) for batch in batches for alert in evaluator.replay(batch)]

    assert found[-2:] == [("Run", "run"), ("Three", "Download, Accept, Run")]
    assert [name for name, _ in found].count("Three") == 1


def test_one_event_counts_for_each_rule_that_it_matches() -> None:
    """Although with rule_matching: first only one of them alerts."""
    evaluator = evaluator_of(THREE, rule("three_rules", "%correlation.values", name="Three"), RULES)
    host = Host()
    evaluator.replay(host.run(0))

    alerts = evaluator.replay(host.accept(1, "10.0.0.9"))

    assert [(alert.rule, alert.output) for alert in alerts][-1] == ("Three", "Run, Accept, Accept from one")


def test_rules_in_order_and_the_number_of_their_events() -> None:
    """As with macros as legs."""
    host = Host()
    texts = (ORDERED, ANY, rule("in_order", "o", name="Ordered"), rule("often", "%correlation.count", name="Often"))
    evaluator = evaluator_of(*texts, RULES)

    reported = [
        {alert.rule for alert in evaluator.replay(batch)} & {"Ordered", "Often"}
        for batch in (host.run(0), host.accept(1), host.download(2), host.run(3), host.accept(4))
    ]

    assert reported == [set(), set(), set(), {"Ordered"}, {"Often"}]


def test_rules_that_are_off_are_not_counted_but_can_be_steps() -> None:
    """Whoever turns a rule off by settings does not want to hear of it."""
    loaded = load_rules(
        [
            RuleFile(
                "r.yaml", THREE + ORDERED + rule("three_rules", name="Three") + rule("in_order", name="Ordered") + RULES
            )
        ]
    )
    rules = [replace(each, enabled=each.name != "Run") for each in loaded.rules]
    active = [each for each in rules if each.enabled]
    evaluator = Evaluator(compile_ruleset(active, loaded.correlations, loaded.suppressed))
    host = Host()

    found = [
        alert.rule for batch in (host.download(0), host.accept(1), host.run(2)) for alert in evaluator.replay(batch)
    ]

    assert found == ["Download", "Accept", "Ordered"]
