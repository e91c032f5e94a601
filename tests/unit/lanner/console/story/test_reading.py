import json
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from lanner.console.story.reading import redacted_batch
from lanner.recorder.recording import read_incident
from processor.output.redaction import Redaction
from schemas.batch import Container, EventBatch, Process
from schemas.encoding.recording import read_recording
from tests.unit.alerts import TIME
from tests.unit.lanner.console.server.conftest import Serve, serve  # noqa: F401  a fixture
from tests.unit.lanner.console.server.views.test_story import IDENTITY, recorded, shadow
from tests.unit.lanner.program import lanner
from tests.unit.processor.batches import batch_of
from tests.unit.recordings import shadow_read, write_recording

PATH = f"/api/alerts/{IDENTITY}/incident"
RULES = """
- rule: A rule
  desc: x
  condition: evt.type = openat and fd.name = /etc/shadow
  output: read %fd.name by %proc.cmdline
  priority: WARNING
"""


@pytest.fixture
def incident(serve: Serve, tmp_path: Path) -> Path:  # noqa: F811
    """Return an exported incident of a read with a password in its command line."""
    batch = replace(shadow_read(), rules_version="3f2a", watched=["openat"])
    batch.processes[1] = replace(batch.processes[1], args=("--password", "hunter2", "/etc/shadow"))
    hour = 3600 * 10**9
    later = replace(shadow_read(), sequence=2, created=TIME + hour)
    later.columns["time"] = array("q", [TIME + hour])
    secret = shadow(output="token=hunter2", id="other", time=TIME + 10**9)
    served = serve(
        "console.max_days=30000", alerts=[shadow(), secret], events=recorded(tmp_path / "kept", batch, later)
    )
    served.wait_for(2)
    answer = served.ask(PATH)
    assert answer.status == 200
    assert served.audit()[-1]["action"] == "export"
    path = tmp_path / "incident.avro"
    path.write_bytes(answer.body)
    return path


def test_an_incident_has_events_alerts_and_the_version_of_the_rules(incident: Path) -> None:
    """Those of the time range, in one file."""
    (batch,) = read_recording(incident)
    assert batch.count == 1
    header = read_incident(incident)
    assert header is not None
    assert [alert["id"] for alert in header["alerts"]] == [IDENTITY, "other"]
    assert (header["rules_versions"], header["hosts"], header["remark"]) == (["3f2a"], ["web-3"], "")


def test_no_secret_leaves_with_an_incident(incident: Path) -> None:
    """Neither in the events nor in the alerts."""
    (batch,) = read_recording(incident)
    assert batch.processes[1].args == ("--password", "[redacted]", "/etc/shadow")
    assert "hunter2" not in json.dumps(read_incident(incident))


def test_an_incident_is_replayed_and_tested(incident: Path, tmp_path: Path) -> None:
    """By `lanner replay`, and by `lanner rules test` as the source of a case and as the recording of one."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    done = lanner("replay", incident, "-r", rules, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["id"] != ""
    assert "with 2 alerts then:" in done.stderr
    assert "versions of the rules then: 3f2a" in done.stderr
    made = lanner("rules", "test", "--from", incident, "-r", rules)
    assert made.returncode == 0, made.stderr
    case = "  - name: as it was\n    recording: incident.avro\n    expect: [A rule]\n"
    (tmp_path / "rules_test.yaml").write_text(made.stdout + case)
    done = lanner("rules", "test", rules)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_without_events_there_is_nothing_to_export(serve: Serve, tmp_path: Path) -> None:  # noqa: F811
    """The answer has the reason; another recording is no incident."""
    served = serve(
        "console.max_days=30000", alerts=[shadow(host_id="9")], events=recorded(tmp_path / "kept", shadow_read())
    )
    served.wait_for(1)
    answer = served.ask(PATH)
    assert (answer.status, "nothing to export" in answer.json["error"]) == (404, True)
    assert read_incident(write_recording(tmp_path / "x.avro", shadow_read())) is None


def test_all_texts_of_a_batch_are_masked() -> None:
    """Arguments together, because a secret follows its option; the rest one by one."""
    secret = "https://a:hunter2@b/"
    process = Process(pid=1, name="x", args=("a\nb", "--token", "hunter2"), env=("API_KEY=hunter2",), cwd=secret)
    labels = (("password", "hunter2"), ("url", secret), ("app", "web"))
    container = Container(id="0", full_id="0", type="docker", labels=labels)
    event = {"type": "openat", "fd_name": secret, "args": {"buffer": "Authorization: Bearer hunter2"}}
    batch: EventBatch = batch_of(event, processes=[process, Process(pid=2)], containers=[container])
    masked = redacted_batch(batch, Redaction())
    assert "hunter2" not in repr(masked)
    assert masked.containers[0].labels is not None
    assert masked.containers[0].labels[2] == ("app", "web")
    assert repr(redacted_batch(batch, Redaction(()))) == repr(batch)
