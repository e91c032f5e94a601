import os
from pathlib import Path

from collector.settings import CollectorSettings
from tests.live.collector.watching import watching


def test_only_variables_that_rules_name_leave_the_collector(tmp_path: Path) -> None:
    """Both for a new program and for one that existed before, and in the exec's own argument; also after a change."""
    environment = {**os.environ, "LANNER_ASKED": "yes", "LANNER_SECRET": "hush"}
    settings = CollectorSettings(variables=frozenset({"LANNER_ASKED"}))
    with watching("execve", settings=settings) as watch:
        watch.run("/bin/cat", str(tmp_path / "missing"), env=environment, check=False)
        event = watch.one(proc__cmdline=f"cat {tmp_path}/missing")
        assert event["proc.env[LANNER_ASKED]"] == "yes"
        assert event["proc.env[LANNER_SECRET]"] == ""
        assert event["evt.arg.env"] == "LANNER_ASKED=yes."
        watch.collector.watch({"execve"}, variables=frozenset())
        watch.run("/bin/ls", str(tmp_path), env=environment)
        event = watch.one(proc__cmdline=f"ls {tmp_path}")
        assert event["proc.env[LANNER_ASKED]"] is None
    for batch in watch.batches:
        assert not any("hush" in (text or "") for text in batch.strings)
        for process in batch.processes:
            assert all(entry.startswith("LANNER_ASKED=") for entry in process.env or ())
