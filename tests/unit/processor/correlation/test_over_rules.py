"""Correlations over rules, through both stages."""

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.correlation.correlator import Correlator
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.loading import RuleFile, load_rules
from tests.unit.processor.correlation import oracles
from tests.unit.processor.correlation.rules import Host, evaluator_of, pre_matches, restarted, rule, ruleset_of

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
    evaluator = Evaluator(compile_ruleset(active, loaded.macros))
    host = Host()

    found = [
        alert.rule for batch in (host.download(0), host.accept(1), host.run(2)) for alert in evaluator.replay(batch)
    ]

    assert found == ["Download", "Accept", "Ordered"]


MINUTE = "group-by: [evt.hostname], timespan: 1m"
STATEFUL = f"""
- macro: accepts
  condition: evt.type = accept4
  correlation: {{type: event_count, {MINUTE}, condition: {{gte: 3}}}}
- macro: all_kinds
  correlation: {{type: value_count, rules: [Download, Accepts, Run], {MINUTE}, condition: {{field: rule, gte: 3}}}}
- macro: matches
  correlation: {{type: event_count, rules: [Accepts, Run], {MINUTE}, condition: {{gte: 4}}}}
- macro: accepts_then_run
  correlation: {{type: temporal_ordered, rules: [Accepts, Run], {MINUTE}}}
- macro: above
  correlation: {{type: event_count, rules: [Matches, Download], {MINUTE}, condition: {{gte: 2}}}}
""" + "".join(
    rule(condition, "o", name=name)
    for name, condition in (
        ("Above", "above"),
        ("All kinds", "all_kinds"),
        ("Matches", "matches"),
        ("In order", "accepts_then_run"),
        ("Accepts", "accepts"),
        ("Download", "evt.type = openat and proc.name = curl"),
        ("Run", "evt.type = execve and proc.name = evil"),
    )
)
RULESET = ruleset_of(STATEFUL)
COLUMNS = {
    "Download": {"type": "openat", "process": "curl"},
    "Accepts": {"type": "accept4"},
    "Run": {"type": "execve", "process": "evil"},
}


def test_a_stateful_rule_counts_when_it_matches() -> None:
    """Two connections are no match of its rule yet; the third is."""
    evaluator = Evaluator(RULESET)
    host = Host()

    found = [
        [alert.rule for alert in evaluator.replay(batch)]
        for batch in (host.download(0), host.run(1), host.accept(2), host.accept(3), host.accept(4), host.run(5))
    ]

    assert [sorted(set(each) & {"Accepts", "All kinds", "In order"}) for each in found] == [
        *([], [], [], []),
        ["Accepts", "All kinds"],
        ["In order"],
    ]


steps = st.tuples(st.integers(0, 1), st.sampled_from(sorted(COLUMNS)), st.integers(0, 25), st.integers(1, 5))


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=30), st.sets(st.integers(0, 29)), st.sets(st.integers(0, 29)))
def test_rules_over_stateful_rules_equal_windows_that_keep_everything(
    drawn: list[tuple[int, str, int, int]], restarts: set[int], again: set[int]
) -> None:
    """On two hosts, with events that stand for several, restarts and events that are delivered again."""
    correlator, hosts = Correlator(RULESET.plan), (Host("a"), Host("b"))
    singles: list[tuple[int, str, oracles.Event]] = []
    seconds = 0
    for number, (which, kind, later, weight) in enumerate(drawn):
        seconds += later
        batch = hosts[which].event(seconds, repeats=weight - 1, **COLUMNS[kind])
        singles += [(which, kind, (seconds, len(singles) + repeat, which)) for repeat in range(weight)]
        for _ in range(1 + (number in again)):
            correlator.process(pre_matches(RULESET, batch))
        if number in restarts:
            counted = correlator.alerts, correlator.suppressed
            correlator = restarted(correlator, RULESET)
            correlator.alerts, correlator.suppressed = counted

    expected = Counter[str]()
    for host in (0, 1):
        expected.update(_matches([(stamp, kind) for which, kind, stamp in singles if which == host]))
    assert correlator.alerts + correlator.suppressed == +expected


def _matches(singles: list[tuple[oracles.Event, str]]) -> Counter[str]:
    """Return how often each stateful rule matches, by looking at single events of one host."""
    kept = (60, 60)
    is_accept = [(stamp, 1) for stamp, kind in singles if kind == "Accepts"]
    met = _met(is_accept, oracles.event_count(is_accept, 3, *kept))
    matched = [(stamp, kind) for stamp, kind in singles if kind != "Accepts" or stamp in met]
    counted = [(stamp, 1) for stamp, kind in matched if kind != "Download"]
    matches = _met(counted, oracles.event_count(counted, 4, *kept))
    above = [(stamp, 1) for stamp, kind in matched if kind == "Download" or stamp in matches]
    legs = [(stamp, {("Accepts", "Run").index(kind)}) for stamp, kind in matched if kind != "Download"]
    return Counter(
        {
            "Accepts": len(met),
            "Matches": len(matches),
            "Above": len(_met(above, oracles.event_count(above, 2, *kept))),
            "All kinds": len(_met(matched, oracles.value_count(matched, 3, *kept))),
            "In order": len(_met(legs, oracles.ordered(legs, 2, *kept))),
        }
    )


def _met(given_events: list[tuple[oracles.Event, Any]], answers: list[Any]) -> set[oracles.Event]:
    """Return the events for which a window is met."""
    return {
        stamp
        for (stamp, _), answer in zip(given_events, answers, strict=True)
        if answer not in (None, oracles.LATE, oracles.STALE)
    }
