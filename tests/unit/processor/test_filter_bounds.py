"""Pushdown bounds of single and negated checks: no event that the kernel drops makes a condition true."""

from dataclasses import replace
from functools import cache
from random import Random

import pytest

from collector.pushdown import lay_out
from collector.records.types import Syscall
from processor.detection.detector import Detector
from processor.detection.view import BatchView
from processor.language.parser import parse
from processor.pushdown.derive import derive
from processor.rule import RulesetOptions
from schemas.batch import EventBatch
from tests.unit.collector.events.test_build import ORIGIN, PROCESS, batch_of
from tests.unit.collector.kernel_filter import passes
from tests.unit.collector.random_calls import EVENTS, FIXED_CHECKS, check_of_name, check_of_path, random_call
from tests.unit.processor.plain_rules import DetectionRule

CALLS = 1500
_CHANCE = Random(1)
CHECKS = (*FIXED_CHECKS, *(check_of_name(_CHANCE) for _ in range(60)), *(check_of_path(_CHANCE) for _ in range(60)))
BESIDE = ("evt.is_open_read = true", "user.uid = 0", "evt.failed = true", "proc.name = bash", "fd.name startswith /etc")
FORMS = ("{0}", "not {0}", "not ({0} and {1})", "not ({0} or {1})", "not (not {0} and {1})", "not (not {0} or not {1})")


@cache
def calls() -> tuple[tuple[Syscall, EventBatch], ...]:
    """Return system calls as the kernel reports them, each with the batch that a collector makes of it."""
    chance = Random(2)
    made = [random_call(chance) for _ in range(CALLS)]
    batches = [batch_of(each, origin=replace(ORIGIN, process=replace(PROCESS, uid=each.who.uid))) for each in made]
    return tuple(
        (each, replace(batch, processes=[replace(PROCESS, uid=each.who.uid)]))
        for each, batch in zip(made, batches, strict=True)
    )


@pytest.mark.parametrize("check", sorted(set(CHECKS)))
def test_no_call_that_makes_a_check_or_its_negation_true_is_left_out(check: str) -> None:
    """The bounds of two checks are also correct when combined."""
    for number, form in enumerate(FORMS):
        text = form.format(check, BESIDE[(len(check) + number) % len(BESIDE)])
        tree = parse(text)
        layout = lay_out(derive([tree], EVENTS))
        detector = Detector([DetectionRule(text, tree, "x")], RulesetOptions(rule_matching="all"))
        for made, batch in calls():
            if not passes(layout, made):
                assert not detector.process(BatchView(batch)), f"{text}: {made}"
