from dataclasses import replace

from lanner.prove.atomics import AtomicTest
from lanner.prove.grades import RaisedAlert, Seen, graded, navigator_layer

TEST = AtomicTest("1", "T1053.003", 1, "Job", "sh", "x", False, (), {})
JOB = "/etc/cron.d/job"
ALERT = RaisedAlert("Write scheduled job", "Warning", ("T1053",), 0.1, 0, "sh wrote a job", "sh", "bash", JOB)


def test_an_alert_of_the_same_technique_is_the_best_result() -> None:
    """A rule may name the technique or the sub-technique; another technique is an alert only."""
    assert graded(TEST, "", Seen(events=7, alerts=[ALERT]), 2).status == "technique"
    assert graded(TEST, "", Seen(alerts=[replace(ALERT, techniques=("T1059",))]), 2).status == "alert"
    assert graded(TEST, "", Seen(events=7), 2).status == "telemetry"
    assert graded(TEST, "", Seen(events=1), 2).status == "no telemetry"


def test_a_layer_has_the_worst_result_of_each_technique() -> None:
    """A test that did not run doesn't count, unless none ran."""
    found = [
        graded(TEST, "", Seen(events=7, alerts=[ALERT]), 2),
        graded(replace(TEST, number=2), "", Seen(events=7), 2),
    ]
    skipped = replace(graded(replace(TEST, technique="T1", number=3), "", Seen(), 0), status="not run")
    layer = navigator_layer([skipped, *found, replace(skipped, test=TEST)])
    assert [(each["techniqueID"], each["score"]) for each in layer["techniques"]] == [("T1", 0), ("T1053.003", 2)]
