"""What `lanner run` reports about itself: by the stage that a fleet's processor uses."""

import dataclasses
from pathlib import Path

from foundation.text import ignore_note
from lanner.known_state.host import StatefulEvaluator
from lanner.terminal.alert_text import Summary
from processor.detection.stage import compile_ruleset
from processor.language.parser import parse
from processor.output.internal_alerts import EVENTS_LOST, FACTS_MISSING, GROUPS_EVICTED, RULE_FAILED
from processor.rule import RulesetOptions
from schemas.batch import EventBatch, Process
from tests.unit.lanner.known_state.test_host import Clock
from tests.unit.processor.batches import batch_of
from tests.unit.processor.plain_rules import DetectionRule

READ = {"type": "openat", "fd_name": "/etc/shadow"}
BROKEN = DetectionRule("Broken", parse("evt.type = openat and proc.cmdlenargs > 1"), "never")


def evaluator_of(clock: Clock, path: Path | None = None) -> StatefulEvaluator:
    """Return the evaluator of a run whose only rule raises for a batch of odd processes."""
    rules = compile_ruleset([BROKEN], {}, RulesetOptions(append_container=False))
    return StatefulEvaluator(rules, path, note=ignore_note, clock=clock.wall())


def odd(sequence: int) -> EventBatch:
    """Return a batch that makes the rule raise."""
    process = Process(pid=1, args=(1,))  # type: ignore[arg-type]
    batch = batch_of(READ, sequence=sequence, processes=[Process(pid=1, args=("x",))])
    return dataclasses.replace(batch, processes=[process])


def lossy(sequence: int, number: int) -> EventBatch:
    """Return a batch whose host lost some events before it."""
    batch = batch_of(sequence=sequence)
    batch.lost = {"events_ring_full": number}
    return batch


def test_a_rule_that_raises_is_an_internal_alert() -> None:
    """With the rule's name and its first error, as in a fleet; further errors are summed for five minutes."""
    clock = Clock()
    run = evaluator_of(clock)
    (alert,) = run.process(odd(1))
    assert (alert.rule, alert.priority, alert.hostname) == (RULE_FAILED, "Error", "web-3")
    assert alert.output == (
        "rules raised errors and were skipped for those events; the first error of 'Broken': "
        "AttributeError: 'int' object has no attribute 'isascii' | Broken: 1"
    )
    assert run.process(odd(2)) == run.process(odd(3)) == []
    clock.pass_by(301)
    (later,) = run.advance_to(301.0)
    assert (later.rule, later.output_fields["Broken"]) == (RULE_FAILED, 2)


def test_losses_are_reported_at_once_and_then_summed() -> None:
    """By reason; what is not yet due is reported at the end, whether there is a state file or not."""
    run = evaluator_of(Clock())
    (alert,) = run.process(lossy(1, 3))
    assert (alert.rule, alert.priority) == (EVENTS_LOST, "Warning")
    assert alert.output == "3 events were lost | events_ring_full: 3"
    assert run.process(lossy(2, 4)) == []
    assert run.lost == {"events_ring_full": 7}
    assert [each.output_fields["events_ring_full"] for each in run.flush()] == [4]


def test_a_restart_reports_losses_at_once_and_none_twice(tmp_path: Path) -> None:
    """The last report is made before the state file is written."""
    run = evaluator_of(Clock(), tmp_path / "state")
    assert len(run.process(lossy(1, 3))) == 1
    run.process(lossy(2, 4))
    assert [each.output_fields["events_ring_full"] for each in run.flush()] == [4]
    after = evaluator_of(Clock(10), tmp_path / "state")
    assert [each.output_fields["events_ring_full"] for each in after.process(lossy(1, 5))] == [5]
    assert after.flush() == []


def test_losses_that_a_killed_process_summed_are_reported_by_the_next(tmp_path: Path) -> None:
    """As far as its state file holds them."""
    run = evaluator_of(Clock(), tmp_path / "state")
    run.process(lossy(1, 3))
    run.process(lossy(2, 4))
    run.save()
    after = evaluator_of(Clock(10), tmp_path / "state")
    assert [each.output_fields["events_ring_full"] for each in after.advance_to(1.0)] == [4]
    assert after.advance_to(2.0) == []


def test_evicted_groups_are_reported(tmp_path: Path) -> None:
    """They count as losses."""
    run = evaluator_of(Clock(), tmp_path / "state")
    run.process(lossy(1, 3))
    run.correlator.store.drop((EVENTS_LOST, ("host-1",)))
    found = run.advance_to(1.0)
    assert [(each.rule, each.output_fields.get(GROUPS_EVICTED)) for each in found] == [(EVENTS_LOST, 1)]
    assert run.lost[GROUPS_EVICTED] == 1


def test_facts_that_are_missing_are_no_lost_events() -> None:
    """The alert has a name of its own, and the summary a line of its own."""
    run = evaluator_of(Clock())
    batch = lossy(1, 3)
    batch.lost |= {"look_ups_given_up": 2, "process_stale": 1}

    found = run.process(batch)

    assert [(alert.rule, dict(alert.output_fields)) for alert in found] == [
        (EVENTS_LOST, {"events_ring_full": 3, "evt.hostname": "web-3"}),
        (FACTS_MISSING, {"look_ups_given_up": 2, "process_stale": 1, "evt.hostname": "web-3"}),
    ]
    assert found[0].output == "3 events were lost | events_ring_full: 3"
    assert Summary().lines(run.lost)[-2:] == [
        "Events lost: 3 (events_ring_full: 3)",
        "Events with facts left out: 3 (look_ups_given_up: 2, process_stale: 1)",
    ]
    assert Summary(events=1, alerts=1).status(run.lost) == "watching: 1 event, 1 alert, 3 lost"
