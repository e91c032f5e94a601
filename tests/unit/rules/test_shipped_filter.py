"""The shipped rules' own cases, of whose calls only those come that the kernel side's source would send."""

from typing import Any

import pytest

from collector.events.batch_builder import BatchBuilder, Event
from collector.events.build import EventSource, add_syscall
from collector.pushdown import lay_out
from collector.records.types import Syscall
from lanner.ruletest import world
from lanner.ruletest.reading import find_tests
from lanner.ruletest.running import Runner, rules_to_evaluate
from processor.detection.stage import compile_ruleset
from processor.pushdown.derive import derive
from processor.rule import RulesetOptions
from tests.unit.collector.bpf.native import NativeKernel
from tests.unit.rules.shipped import RULES


def test_every_case_passes_also_behind_the_kernels_filter(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rule is for gets through, and much of what leaves the rules quiet does not."""
    [tested] = find_tests([str(RULES)], ()).tested
    rules = tested.rules
    ruleset = compile_ruleset(
        rules_to_evaluate(tested.suite, rules.rules), rules.macros, RulesetOptions(rule_matching="all")
    )
    pushdown_filter = derive(ruleset.conditions, ruleset.event_types)
    kernel = NativeKernel(tmp_path_factory.mktemp("native"))
    kernel.put(lay_out(pushdown_filter), pushdown_filter.events)
    sent: list[bool] = []

    def add_if_sent(builder: BatchBuilder, made: Syscall, origin: EventSource, time: int, **names: Any) -> Event | None:
        # What io_uring does comes by another way, which leaves out nothing of these types.
        sent.append(made.is_io_uring or kernel.call(made) is not None)
        return add_syscall(builder, made, origin, time, **names) if sent[-1] else None

    monkeypatch.setattr(world, "add_syscall", add_if_sent)
    runner = Runner(tested.suite, rules, "all", lambda _path: ())
    outcomes = [runner.run(case) for case in tested.suite.cases]

    assert [(outcome.case.name, outcome.failures) for outcome in outcomes if not outcome.passed] == []
    assert sent.count(True) > 50
    assert sent.count(False) > 10
