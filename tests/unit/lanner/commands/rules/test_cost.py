import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lanner.cli.app import lanner_command
from lanner.errors import BadInput
from schemas.batch import EventBatch
from tests.unit.lanner.test_rules_commands import rules
from tests.unit.processor.batches import batch_of
from tests.unit.recordings import shadow_read, write_recording

NONE = "- {rule: None, desc: d, condition: evt.type = unlink, output: o, priority: NOTICE}"


def cost(folder: Path, *words: str, batch: EventBatch | None = None) -> Result:
    """Measure the rules of the tests against others on a recording, by default of one read of /etc/shadow."""
    recording = write_recording(folder / "recorded.avro", batch or shadow_read())
    active, draft = rules(folder, NONE, "active.yaml"), rules(folder)
    common = ["rules", "cost", str(draft), "-r", str(active), "--file", str(recording), "--since", "2020-01-01"]
    return CliRunner().invoke(lanner_command, [*common, *words], catch_exceptions=False)


def test_the_table_compares_draft_and_rules_active(tmp_path: Path) -> None:
    """It names each rule with alerts, and that an extrapolation from one event means little."""
    done = cost(tmp_path)

    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["COST", "ACTIVE", "DRAFT"] in lines
    assert any(line[-5:] == ["0", "1", "1", "web-3", "(1)"] for line in lines)
    assert "Evaluated: 1 event of 1 host" in done.stdout
    assert "less than an hour" in done.stdout


def test_json_has_the_counts_themselves(tmp_path: Path) -> None:
    """A program extrapolates for itself."""
    record = json.loads(cost(tmp_path, "--format", "json", "-q").stdout)

    assert (record["before"]["alerts"], record["draft"]["alerts"], record["events"]) == (0, 1, 1)
    assert record["draft"]["sent"] == {"openat": 1}


def test_what_collectors_always_send_counts_as_sent_by_any_rules(tmp_path: Path) -> None:
    """A program's exit is sent although no rule requests it; the read isn't, by rules about deletions."""
    ends = batch_of({"type": "procexit"}, {"type": "openat"})
    record = json.loads(cost(tmp_path, "--format", "json", "-q", batch=ends).stdout)

    assert record["before"]["sent"] == {"procexit": 1}
    assert record["draft"]["sent"]["procexit"] == 1


def test_no_events_of_the_time_are_an_error(tmp_path: Path) -> None:
    """Zeros would look like a cheap rule."""
    with pytest.raises(BadInput, match="no events of this time are stored"):
        cost(tmp_path, "--since", "2100-01-01")
