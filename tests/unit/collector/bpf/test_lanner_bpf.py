"""The kernel side's source, compiled for this machine, against a plain reading of the tables and against the rules."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.interest_layout import lay_out
from processor.compiler.checks import errors
from processor.detect import DetectionRule, Detector
from processor.interest import derive
from processor.language.parser import parse
from tests.unit.collector.bpf.native import NativeKernel
from tests.unit.collector.kernel_judge import passes
from tests.unit.collector.random_calls import EVENTS, random_call, random_rule
from tests.unit.processor.test_interest import found

CALLS = 60


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> NativeKernel:
    """Compile it once."""
    return NativeKernel(tmp_path_factory.mktemp("native"))


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=True), st.integers(0, 1))
def test_what_the_source_leaves_out_matters_to_no_rule(kernel: NativeKernel, chance: Random, generation: int) -> None:
    """It judges as the tables read, beside those of another version, and passes each call that a rule matches."""
    rules = [random_rule(chance) for _ in range(5)]
    trees = [parse(rule) for rule in rules]
    assert not [error for tree in trees for error in errors(tree)]
    detector = Detector(
        [DetectionRule(rule, tree, "x") for rule, tree in zip(rules, trees, strict=True)], rule_matching="all"
    )
    layout = lay_out(derive(trees, EVENTS))
    calls = [random_call(chance) for _ in range(CALLS)]
    kernel.put(None, EVENTS)
    told = [kernel.call(made, is_multiplexed=bool(generation)) for made in calls]
    kernel.put(lay_out(derive([parse(random_rule(chance)) for _ in range(2)], EVENTS)), EVENTS, 1 - generation)
    kernel.put(layout, EVENTS, generation)

    for made, whole in zip(calls, told, strict=True):
        assert whole is not None
        sent = kernel.call(made, is_multiplexed=bool(generation))
        assert sent == (whole if passes(layout, whole) else None)
        assert sent is not None or not found(detector, whole)
