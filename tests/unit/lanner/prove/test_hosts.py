from pathlib import Path

import pytest

from lanner.prove.hosts import Marks, belongs
from tests.unit.lanner.program import lanner

MARKS = Marks(
    "lanner-prove-1-2",
    frozenset({100}),
    frozenset({"evil"}),
    "echo '* * * * * root touch /tmp/planted' > /etc/cron.d/job\n/etc/cron.d/job\n* * * * * root touch /tmp/planted\n",
)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"proc.pid": 101, "proc.ppid": 100}, True),
        ({"proc.pid": 105, "proc.ppid": 104, "proc.apid[8]": 100}, True),
        ({"proc.pid": 100, "proc.ppid": 1}, False),
        ({"proc.pid": 7, "proc.ppid": 1, "thread.cgroups": "pids=/lanner-prove-1-2;memory=/lanner-prove-1-2"}, True),
        ({"proc.pid": 7, "proc.ppid": 1, "thread.cgroups": "pids=/lanner-prove-1-3"}, False),
        ({"proc.pid": 7, "proc.ppid": 1, "thread.cgroups": "systemd=/system.slice/evil.service"}, True),
        ({"proc.pid": 7, "proc.ppid": 1, "thread.cgroups": "systemd=/system.slice/evil@1.service/x;pids=/"}, True),
        ({"proc.pid": 7, "proc.ppid": 1, "thread.cgroups": "systemd=/system.slice/notevil.service"}, False),
        ({"proc.pid": 7, "proc.pname": "cron", "proc.cmdline": "sh -c touch /tmp/planted"}, True),
        ({"proc.pid": 8, "proc.pname": "sh", "proc.aname[2]": "atd", "fd.name": "/tmp/planted"}, True),
        ({"proc.pid": 7, "proc.pname": "cron", "proc.cmdline": "sh -c run-parts /etc/cron.hourly"}, False),
        ({"proc.pid": 7, "proc.pname": "bash", "proc.cmdline": "touch /tmp/planted"}, False),
        ({"proc.pid": 7, "proc.cmdline": "touch /tmp/planted", "thread.cgroups": "name=/a/run-u7.service"}, True),
        ({"proc.pid": 7, "proc.pname": "cron", "proc.cmdline": "sh"}, False),
    ],
)
def test_an_alert_belongs_to_a_test_by_ancestry_unit_or_script(event: dict[str, str | int], expected: bool) -> None:
    """What others do while it runs doesn't, nor what only waits for the test."""
    assert belongs(event, MARKS) is expected


def test_nothing_runs_on_a_host_that_nobody_names(tmp_path: Path) -> None:
    """Without a terminal, its name is an option, and another name is refused."""
    folder = tmp_path / "T1059.004"
    folder.mkdir()
    test = "{name: x, supported_platforms: [linux], executor: {name: sh, command: 'touch ran'}}"
    (folder / "T1059.004.yaml").write_text(f"attack_technique: T1059.004\natomic_tests: [{test}]\n")
    assert lanner("prove", tmp_path, "--on-this-host").returncode == 2
    refused = lanner("prove", tmp_path, "--on-this-host", "--confirm", "another")
    assert refused.returncode == 1
    assert "nothing was run: 'another' is not the name of this host" in refused.stderr
    assert lanner("prove", tmp_path, "--on-this-host", "--recording", tmp_path / "x").returncode == 2
