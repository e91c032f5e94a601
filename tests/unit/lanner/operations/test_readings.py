"""Tests of metrics that combine counters of several stages."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from collector.kernel.offsets import URING_FEATURE
from lanner.operations.detection import indicator_readings, repeated
from lanner.operations.run import RunView
from lanner.ruleset.compile import CompiledDetection, active_text
from lanner.settings import Settings
from lanner.settings.sections.model import StateFileSettings
from lanner.settings.sections.services import KubernetesAuditSettings
from lanner.wiring.rules import load_detection
from lanner.wiring.stages.collector import Source
from lanner.wiring.stages.single_host import Pipeline
from processor.detection.rule_timing import RuleTiming
from processor.loading import RuleFile, load_rules
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.filter import PushdownFilter
from tests.unit.processor.correlation.rules import SSH, Host, rule, ruleset_of
from tests.unit.processor.detection.requests import line, request

RULES = [
    SSH,
    rule("evt.type = connect", name="Plain"),
    rule("ssh_connection", "%fd.cip", "suppress: {by: [fd.cip], for: 10m}", name="Suppressed"),
    rule("many_ssh_connections", name="Stateful"),
]


class NoEvents:
    """A source that collects nothing; tests pass the batches."""

    kernel = "6.1.0"
    hostname = "web-1"
    off: Mapping[str, str] = {}

    def start(self) -> None:
        """Start nothing."""

    def poll(self, timeout: float) -> None:
        """Deliver nothing."""

    def rest(self, seconds: float, until_readable: int) -> bool:  # noqa: ARG002
        """Never sleep."""
        return False

    def watch(
        self,
        event_types: frozenset[str],
        pushdown_filter: PushdownFilter | None = None,
        *,
        variables: frozenset[str] | None = None,
    ) -> None:
        """Ignore the new filter."""

    def stop(self) -> None:
        """Stop nothing."""


def test_repeats_of_both_stages_are_one_metric() -> None:
    """A rule that became stateful has the sum of both."""
    counts = repeated(ruleset_of(*RULES), Counter(Plain=3, Stateful=1), Counter(Stateful=2, Deleted=1))

    assert counts == {("Plain",): 3, ("Suppressed",): 0, ("Stateful",): 3, ("Deleted",): 1}


def test_run_evaluates_an_audit_log(tmp_path: Path) -> None:
    """Its rules are counted with the others, and its alerts go to the same sinks."""
    rules, log, alerts = tmp_path / "rules.yaml", tmp_path / "audit.log", list[Alert]()
    rules.write_text(
        "- {rule: Get, desc: d, condition: ka.verb = get, output: o, priority: NOTICE, source: k8s_audit}\n"
    )
    log.write_bytes(line(request()))
    section = KubernetesAuditSettings(file=str(log), state_dir=str(tmp_path / "state"))
    settings = Settings(rules_files=(str(rules),), memory=StateFileSettings(enabled=False), kubernetes_audit=section)
    detection = load_detection(settings)
    assert active_text(detection).endswith("active; 1 rule on Kubernetes audit events")
    pipeline = Pipeline(
        settings,
        detection,
        lambda _, __: NoEvents(),
        reload=lambda: (settings, detection),
        sinks=lambda _: [],
        on_alert=alerts.append,
        quiet=True,
    )
    pipeline.run(until=lambda: bool(alerts))
    timing = RuleTiming(lambda: pipeline.detection.ruleset.detector)
    readings = RunView(pipeline, timing, lambda: settings.http).readings()

    assert set(readings["lanner_features_off"].values()) == {0}
    assert [alert.rule for alert in alerts] == ["Get"]
    assert readings["lanner_rules"] == {(): 1}
    assert readings["lanner_json_events_total"] == {("evaluated",): 1, ("refused",): 0}
    assert readings["lanner_alerts_total"] == {("Get", "Notice"): 1}


def test_run_shows_suppressed_matches(tmp_path: Path) -> None:
    """Connections after the first, and those after the third for the rule that counts them."""
    rules, host = tmp_path / "rules.yaml", Host()
    rules.write_text("".join(RULES), encoding="utf-8")
    settings = Settings(rules_files=(str(rules),), memory=StateFileSettings(enabled=False))
    publish: list[Callable[[EventBatch], None]] = []

    def source(_: CompiledDetection, take: Callable[[EventBatch], None]) -> Source:
        publish.append(take)
        return NoEvents()

    detection = load_detection(settings)
    pipeline = Pipeline(
        settings, detection, source, reload=lambda: (settings, detection), sinks=lambda _: [], quiet=True
    )
    timing = RuleTiming(lambda: pipeline.detection.ruleset.detector)
    pipeline.evaluator.add_observer(timing.see)
    view = RunView(pipeline, timing, lambda: pipeline.settings.http)
    for second in range(5):
        publish[0](host.accept(second))

    repeats = view.readings()["lanner_repeated_alerts_total"]
    assert repeats == {("Plain",): 0, ("Suppressed",): 4, ("Stateful",): 2}


def test_run_shows_features_that_are_off(tmp_path: Path) -> None:
    """A kernel without something that a feature needs degrades the check, and the metric names the feature."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES[1])
    settings = Settings(rules_files=(str(rules),), memory=StateFileSettings(enabled=False))
    detection, source = load_detection(settings), NoEvents()
    source.off = {URING_FEATURE: "no io_kiocb"}
    pipeline = Pipeline(
        settings, detection, lambda _, __: source, reload=lambda: (settings, detection), sinks=lambda _: [], quiet=True
    )
    pipeline.run(until=lambda: True)
    view = RunView(pipeline, RuleTiming(lambda: detection.ruleset.detector), lambda: settings.http)

    assert view.readings()["lanner_features_off"][URING_FEATURE,] == 1
    [check] = [check for check in view.health().ready() if check.name == "kernel"]
    assert check.is_good
    assert str(check).startswith("degraded: ")
    assert URING_FEATURE in check.detail


def test_lists_of_indicators_have_sizes_and_ages(tmp_path: Path) -> None:
    """Entries that can't be used are counted."""
    (tmp_path / "bad.txt").write_text("198.51.100.7\nx\n")
    os.utime(tmp_path / "bad.txt", (1_000, 1_000))
    text = "- {indicators: bad, file: bad.txt, kind: address}\n"
    loaded = load_rules([RuleFile(str(tmp_path / "rules.yaml"), text)])
    assert indicator_readings(loaded.indicators, 1_060.0) == {
        "lanner_indicators": {("bad",): 1},
        "lanner_indicators_rejected": {("bad",): 1},
        "lanner_indicators_age_seconds": {("bad",): 60.0},
    }
