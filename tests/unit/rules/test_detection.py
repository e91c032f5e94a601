"""The page of what is detected has what was measured, and why the rest isn't detected."""

import dataclasses
import re
from pathlib import Path

import pytest

from bench.detection.page import PAGE, page
from bench.detection.precision import unexplained
from bench.detection.results import SETS, Results, read_reasons, read_results, write_results
from lanner.prove.grades import RaisedAlert
from processor.loading import load_rules, read_rule_files
from tests.unit.rules.shipped import RULES

LEAST_DETECTED = 69
"""The number of steps that ought to alert and do; raise it whenever rules detect more."""
LEAST_NAMED = 67
"""The number with an alert of the step's technique."""
MOST_UNEXPLAINED = 6
"""The number of names in alerts that the steps' own texts don't explain."""
MOST_OF_ONE = 3
"""The number of alerts of one rule about one step."""


@pytest.fixture(scope="module")
def results() -> Results:
    """Read the results of the last run."""
    return read_results()


def test_every_figure_of_the_page_is_in_the_results(results: Results) -> None:
    """`make prove` writes both."""
    assert PAGE.read_text() == page(results, read_reasons())


def test_each_step_that_is_not_detected_has_a_reason(results: Results) -> None:
    """And no reason is about one that is detected now."""
    assert {test.guid: test.name for test in results.undetected if test.guid not in read_reasons()} == {}
    assert set(read_reasons()) <= {test.guid for test in results.undetected}


def test_the_default_rules_stay_above_what_was_promised(results: Results) -> None:
    """Steps that ought to alert do, and discovery one by one is silent."""
    ought = [test for test in results.tests if test.grade == "alert"]

    assert len(results.costs) == len(SETS)
    assert all(len(test.statuses) == len(SETS) for test in results.tests)
    assert sum(test.is_detected() for test in ought) >= LEAST_DETECTED
    assert sum(test.statuses[0] == "technique" for test in ought) >= LEAST_NAMED
    assert results.costs[0].nothing == 0


def test_alerts_name_what_the_steps_did_and_do_not_repeat(results: Results) -> None:
    """Process, parent and file are in the steps' own texts, and one act is one alert, or few."""
    repeated = (re.search(r" x(\d+)$", rule) for test in results.tests for rule in test.rules)
    numbers = [int(found[1]) for found in repeated if found]

    assert sum(len(test.unexplained) for test in results.tests) <= MOST_UNEXPLAINED
    assert max(numbers) <= MOST_OF_ONE


def test_a_name_that_a_step_does_not_explain_is_reported() -> None:
    """A wrong process, parent or file would be one."""
    alert = RaisedAlert("R", "Notice", (), 0.1, 0, "", process="touch", parent="bash", file="/etc/cron.d/job")

    assert list(unexplained({"touch", "job"}, [alert])) == []
    assert list(unexplained({"touch"}, [alert])) == ["R: file /etc/cron.d/job"]
    other = dataclasses.replace(alert, process="x", parent="y")
    assert list(unexplained({"cron.d"}, [other])) == ["R: process x", "R: parent y"]


def test_rules_of_the_page_are_shipped(results: Results) -> None:
    """A rule that was renamed or removed makes the results old."""
    names = {rule.name for rule in load_rules(read_rule_files([RULES])).rules}
    assert {rule.rpartition(" (")[0] for test in results.tests for rule in test.rules} <= names


def test_results_are_read_as_they_were_written(results: Results, tmp_path: Path) -> None:
    """One test a line, so that a change can be read."""
    path = tmp_path / "results.json"
    write_results(results, path)
    assert read_results(path) == results
    assert len(path.read_text().splitlines()) == len(results.tests) + len(results.costs) + 9


def test_a_name_cannot_break_the_page(results: Results) -> None:
    """Names of tests are others' text."""
    test = dataclasses.replace(results.tests[0], name="a | b <script>", grade="alert", statuses=("telemetry",) * 4)
    text = page(dataclasses.replace(results, tests=(test,)), {})
    assert "a \\| b &lt;script>" in text
