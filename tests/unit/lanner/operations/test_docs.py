import re
from pathlib import Path

from lanner.operations.catalogue import METRICS

PAGE = Path(__file__).parents[4] / "docs" / "operate.md"
RULES = Path(__file__).parents[4] / "deploy" / "prometheus" / "lanner.rules.yml"


def rows() -> dict[str, list[str]]:
    """Return the page's table of metrics: name to the other columns."""
    found = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `lanner_"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found[cells[0].strip("`")] = cells[1:]
    return found


def test_each_metric_is_on_the_page_and_the_reverse() -> None:
    """Each metric is documented with its labels and meaning, and vice versa."""
    page = rows()
    assert set(page) == set(METRICS)
    for name, metric in METRICS.items():
        assert [each.strip() for each in page[name][0].split(",") if each.strip()] == list(metric.labels)
        assert page[name][2]


def test_alert_rules_require_metrics_that_there_are() -> None:
    """An alert rule on an unknown metric would never fire."""
    named = set(re.findall(r"lanner_[a-z_]+[a-z]", RULES.read_text())) - {"lanner_rules"}
    assert named
    for name in named:
        assert name in METRICS or name.removesuffix("_bucket") in METRICS
