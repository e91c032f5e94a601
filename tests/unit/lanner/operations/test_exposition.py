import subprocess
from pathlib import Path

import pytest

from foundation.histogram import Histogram
from lanner.operations.catalogue import METRICS
from lanner.operations.exposition import Exposition
from tests.promtool import promtool

DEPLOY = Path(__file__).parents[4] / "deploy" / "prometheus"


@pytest.fixture(scope="module")
def promtool_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return promtool."""
    return promtool(tmp_path_factory.mktemp("promtool"))


def test_every_metric_passes_prometheus_own_lint(promtool_path: str) -> None:
    """Names, units, help texts and types pass."""
    durations = Histogram()
    durations.add(0.02)
    readings = {
        name: {tuple("x" for _ in metric.labels): durations if metric.kind == "histogram" else 1.0}
        for name, metric in METRICS.items()
    }
    text = Exposition(lambda: readings).text()
    done = subprocess.run([promtool_path, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_hostile_labels_break_no_line() -> None:
    """Rule names and reasons may come from others."""
    text = Exposition(lambda: {"lanner_rule_errors_total": {('a"\n} 1\x1b[2J\u202e' + "x" * 999,): 2}}).text().decode()
    line = next(each for each in text.splitlines() if each.startswith("lanner_rule_errors_total{"))
    assert line.startswith('lanner_rule_errors_total{rule="a\\"')
    assert line.endswith('"} 2.0')
    assert len(line) < 300
    assert "\x1b" not in text


def test_a_histogram_adds_up() -> None:
    """Each bucket counts everything below its bound; the last one is the total."""
    durations = Histogram()
    for seconds in (0.001, 0.02, 9999):
        durations.add(seconds)
    text = Exposition(lambda: {"lanner_alert_latency_seconds": {(): durations}}).text().decode()
    assert 'lanner_alert_latency_seconds_bucket{le="0.005"} 1.0' in text
    assert 'lanner_alert_latency_seconds_bucket{le="0.025"} 2.0' in text
    assert 'lanner_alert_latency_seconds_bucket{le="+Inf"} 3.0' in text
    assert "lanner_alert_latency_seconds_count 3.0" in text


def test_scrape_configuration_and_alert_rules_are_prometheus_own(promtool_path: str) -> None:
    """Both are valid as shipped."""
    for arguments in (["check", "config", "prometheus.yml"], ["check", "rules", "lanner.rules.yml"]):
        done = subprocess.run([promtool_path, *arguments], cwd=DEPLOY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
