"""first_seen through both stages: events in, alerts out; in the fleet, in one process, and in replay."""

from dataclasses import replace

from processor.correlation.correlator import Correlator
from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.detection.view import BatchView
from processor.evaluator import Evaluator
from processor.loading import RuleFile, load_rules
from processor.output.internal_alerts import EVENTS_LOST, VALUES_UNSTORED
from processor.rule import RulesetOptions
from schemas.batch import EventBatch
from tests.unit.processor.correlation.rules import NEW_PROGRAM, SECOND, START, Host, rule, ruleset_of
from tests.unit.processor.correlation.test_clock import YEARS, Fleet

HOUR, DAY = 3600, 86_400
NEW = ruleset_of(NEW_PROGRAM, rule("new_program", "%correlation.values in %correlation.group"))
EVIL, SHELL = "evil, /tmp/evil in 3d09256ebd53", "sh, /tmp/sh in 3d09256ebd53"


def outputs(evaluator: Evaluator, *batches: EventBatch) -> list[str]:
    """Return the outputs of a replay."""
    return [alert.output for batch in batches for alert in evaluator.replay(batch)]


def test_the_first_event_with_a_value_fires_after_learning() -> None:
    """In a group that all hosts share, of two fields, and again once a lookback passed without it."""
    evaluator, one, other = Evaluator(NEW), Host("web-1"), Host("web-2")

    assert outputs(evaluator, one.run(0, "sh"), other.run(HOUR - 1, "curl")) == []
    assert outputs(evaluator, other.run(HOUR), one.run(HOUR + 1), other.run(HOUR + 2, "sh")) == [EVIL]
    assert outputs(evaluator, one.run(3 * DAY, "sh"), one.run(9 * DAY, "sh"), one.run(9 * DAY + 1)) == [EVIL]
    assert outputs(evaluator, one.run(17 * DAY, "sh")) == [SHELL]


def test_each_new_value_of_a_group_is_an_alert() -> None:
    """The second is no repeat of the first, as for windows."""
    evaluator, host = Evaluator(NEW), Host()
    evaluator.replay(host.run(0, "curl"))

    assert outputs(evaluator, host.run(HOUR, "sh"), host.run(HOUR + 1)) == [SHELL, EVIL]


def test_its_negation_is_true_for_what_is_known_and_not_while_it_learns() -> None:
    """A new value in the learning period is neither new nor known."""
    ruleset = ruleset_of(
        NEW_PROGRAM,
        rule("evt.type = execve and not new_program", "known %proc.name", "suppress: {by: [container.id], for: 1s}"),
    )
    evaluator, host = Evaluator(ruleset), Host()

    assert outputs(evaluator, host.run(0), host.run(10), host.run(20, "sh"), host.run(HOUR, "curl")) == ["known evil"]
    assert evaluator.correlator.counts["learning"] == 2


def test_no_clock_of_a_host_ends_learning_or_makes_values_old() -> None:
    """A host that claims a time years ahead, and one years behind, change nothing for the others."""
    fleet, good, ahead, behind = Fleet(NEW), Host("good"), Host("ahead"), Host("behind")
    fleet.send(good.run(0, "sh"), at=0)
    fleet.send(ahead.run(YEARS, "sh"), at=1)

    assert fleet.send(good.run(10, "curl"), at=10) == []
    assert [alert.output for alert in fleet.send(good.run(HOUR), at=HOUR)] == [EVIL]
    assert fleet.send(behind.run(-YEARS), at=HOUR + 1) == []
    assert fleet.send(ahead.run(YEARS), at=HOUR + 2) == []
    fleet.tick(HOUR + 3, claimed=YEARS)
    assert fleet.taken_over().send(good.run(HOUR + 4), at=HOUR + 4) == []
    assert fleet.stage.known_values == 3


def test_a_redelivered_event_neither_fires_again_nor_counts_as_known() -> None:
    """Whoever takes over has the value and the event that brought it."""
    both = ruleset_of(
        NEW_PROGRAM,
        rule("new_program", "new", name="New"),
        rule("evt.type = execve and not new_program", "known", "suppress: {by: [container.id], for: 1s}", name="Known"),
    )
    fleet, host = Fleet(both), Host()
    fleet.send(host.run(0, "sh"), at=0)
    first = host.run(HOUR)
    assert [alert.output for alert in fleet.send(first, at=HOUR)] == ["new"]

    assert fleet.taken_over().send(first, at=HOUR + 1) == []


def limited(most: int) -> CompiledRuleset:
    """Return rules whose groups know few values."""
    loaded = load_rules([RuleFile("rules.yaml", NEW_PROGRAM + rule("new_program", "%proc.name"))])
    return compile_ruleset(loaded.rules, loaded.macros, RulesetOptions(max_group_values=most))


def test_who_brings_too_much_is_named_and_only_he_is_silent() -> None:
    """An alert names host, container and user; another host's new program is still reported."""
    fleet, host, other = Fleet(limited(2)), Host(), Host("web-2")
    for number, process in enumerate(("sh", "curl")):
        fleet.send(host.run(number, process), at=number)

    batch = host.run(HOUR)
    batch.processes = [replace(process, uid=33, user="www") for process in batch.processes]
    (alert,) = fleet.send(batch, at=HOUR)
    assert (alert.rule, alert.priority, alert.hostname) == (VALUES_UNSTORED, "Warning", "web-1")
    assert alert.output_fields["new_program by container 3d09256ebd53, user www (uid 33)"] == 1
    assert "groups of first_seen store 2 values each: further ones of those named are not reported" in alert.output
    assert fleet.send(host.run(HOUR + 1), at=HOUR + 1) == []
    assert [each.rule for each in fleet.send(other.run(HOUR + 2), at=HOUR + 2)] == ["Found"]


def test_evicted_groups_are_reported_and_learn_again() -> None:
    """Where all groups together know too much."""
    evaluator = Evaluator(NEW)
    evaluator.correlator.sightings._maximum = 2
    hosts = [Host(f"web-{number}") for number in range(3)]
    for host, process in zip(hosts, ("sh", "curl", "evil"), strict=True):
        evaluator.process(host.run(0, process), START)

    (alert,) = evaluator.advance_to(START + SECOND)
    assert alert.rule == EVENTS_LOST
    assert evaluator.correlator.state.evicted == 1
    assert evaluator.process(hosts[0].run(2), START + 2 * SECOND) == []


def test_a_changed_macro_learns_anew_and_an_unchanged_one_goes_on() -> None:
    """What an old macro knew is deleted from the table."""
    correlator = Correlator(NEW.plan)
    correlator.process(NEW.pre_matcher.process(BatchView(Host().run(0))), START)
    assert len(correlator.sightings) == 1

    correlator.change_rules(NEW.plan)
    assert len(correlator.sightings) == 1
    correlator.change_rules(ruleset_of(NEW_PROGRAM.replace("7d", "8d"), rule("new_program")).plan)
    assert len(correlator.sightings) == 0
