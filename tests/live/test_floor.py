"""What the default rules detect of the open half of Atomic Red Team's tests never gets less."""

import json
import subprocess

import pytest

from bench.detection.results import PROVE, read_results
from lanner.prove.grades import STATUSES, is_same_technique
from lanner.prove.image import NoDebian
from schemas.catalog.priorities import SEVERITY, Priority
from tests.live.debian_image import guest_image
from tests.live.needs import lacking
from tests.reference import present, shared_dir

pytestmark = pytest.mark.live

LEFT_OUT = ("e0742e38-6efe-4dd4-ba5c-2078095b6156",)
"""It needs Emacs. Its rule has other tests here."""
GUESTS = 4


def test_no_attack_step_loses_its_alert() -> None:
    """Each has an alert at Notice or above, of the test's technique if it had one when `make prove` ran."""
    atomics = present(shared_dir() / "atomics")
    floor = {test.guid: test for test in read_results().tests if test.is_detected() and test.guid not in LEFT_OUT}
    try:
        root = guest_image()
    except NoDebian as missing:
        lacking(str(missing))

    only = [part for guid in floor for part in ("--only", guid)]
    command = [*PROVE, str(atomics), "--image", str(root), "--guests", str(GUESTS), "--format", "json", *only]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)

    assert done.returncode == 0, done.stderr
    lost = []
    for result in json.loads(done.stdout):
        test = floor[result["guid"]]
        alerts = [each for each in result["alerts"] if SEVERITY[each["priority"]] <= Priority.NOTICE]
        named = any(is_same_technique(test.technique, each) for alert in alerts for each in alert["techniques"])
        status = "technique" if named else "alert" if alerts else result["result"]
        if not alerts or STATUSES.index(status) < STATUSES.index(test.statuses[0]):
            lost.append(f"{test.technique}, {test.name}: {status} {result['reason']}, was {', '.join(test.rules)}")
    assert not lost, "\n".join((*lost, done.stderr))
