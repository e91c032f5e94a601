"""The process of a hunt ends in time, whatever a person wrote."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from lanner.console.hunts import HuntRequest
from lanner.recorder.store import EventRange
from lanner.settings import load_settings
from lanner.wiring.hunts import ARCHIVE, RECORDING, TOPIC, hunt_source
from tests.unit.lanner.console.events import read_at
from tests.unit.recordings import write_recording

ENDLESS = "WITH n AS (SELECT unnest(range(100000)) AS a) SELECT sum(x.a * y.a % 7 + z.a) FROM n AS x, n AS y, n AS z"


def test_a_query_without_an_end_is_ended(tmp_path: Path) -> None:
    """By the process itself, which reports why; its text is no argument that other users could read."""
    file = write_recording(tmp_path / "events.avro", read_at(time.time_ns()))
    source = hunt_source(load_settings(None, {}, ["console.hunt_seconds=1"]), file)
    (tmp_path / "files").mkdir()
    request = HuntRequest(ENDLESS, True, RECORDING, EventRange(0, time.time_ns()))
    command, data = source.child(request, tmp_path / "files")
    assert not any("unnest" in each for each in command)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(data)
        process.stdin.flush()
        last = json.loads(process.stdout.readlines()[-1])
    assert last["error"] == "the query took more than 1 s: take a shorter time, or fewer rows."
    assert process.returncode == 0


def test_a_console_hunts_in_what_there_is(tmp_path: Path) -> None:
    """In an archive that its settings name, or that is on its host."""
    own = ["console.archive=s3://bucket/lanner"]
    assert list(hunt_source(load_settings(None, {}, own), has_topics=True).places) == [ARCHIVE, TOPIC]
    default = load_settings(None, {}, [f"archive.folder={tmp_path}"])
    assert list(hunt_source(default, tmp_path).places) == [RECORDING]
    (tmp_path / "batches").mkdir()
    assert list(hunt_source(default).places) == [ARCHIVE]


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="needs root, to be another user")
def test_an_archive_that_may_not_be_read_is_not_offered(tmp_path: Path) -> None:
    """The console starts all the same."""
    hidden = tmp_path / "hidden"
    (hidden / "batches").mkdir(parents=True)
    hidden.chmod(0)
    os.seteuid(65534)
    try:
        assert hunt_source(load_settings(None, {}, [f"archive.folder={hidden}"])).places == {}
    finally:
        os.seteuid(0)
