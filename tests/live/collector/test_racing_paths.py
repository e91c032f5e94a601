"""Paths changed by another thread during a call: the event has the one that the kernel used."""

from pathlib import Path

import pytest

from collector.settings import CollectorSettings
from tests.live.collector.watching import watching
from tests.live.compiled import Programs

COUNT = 2000
ALL_SENT = CollectorSettings(sent_whole=0)
FIELDS = {
    "unlink": "fs.path.nameraw",
    "mkdir": "fs.path.nameraw",
    "symlink": "fs.path.targetraw",
    "link": "fs.path.targetraw",
    "rename": "fs.path.targetraw",
}


@pytest.mark.parametrize("call", FIELDS)
def test_each_event_has_the_path_that_the_kernel_went_by(tmp_path: Path, call: str) -> None:
    """Checked one by one, in thousands of calls."""
    program = Programs(tmp_path)("racing_paths")
    folder = tmp_path / "folder"
    folder.mkdir()
    with watching(call, settings=ALL_SENT) as watch:
        names = watch.run(str(program), call, str(COUNT), cwd=folder).stdout.split()
        paths = [event[FIELDS[call]] for event in watch.events(evt__type=call) if event["evt.rawres"] == 0]

    raced = [path.removeprefix("././") for path in paths if path.startswith("././")]
    assert {"evil", "good"} <= set(names)
    assert raced == [name for name in names if name != "-"]
