import json
from pathlib import Path
from typing import Any

import pytest

from lanner.ruletest.events.events import write_event
from lanner.ruletest.reading import find_tests
from lanner.ruletest.running import Runner
from tests.unit.lanner.program import lanner
from tests.unit.lanner.ruletest.stated import fields_of

ROOT = Path(__file__).parents[4]
ALERT = {
    "rule": "Read sensitive file untrusted",
    "priority": "Warning",
    "output_fields": {
        "evt.time": 1,
        "evt.type": "openat",
        "evt.io_uring": True,
        "fd.name": "/etc/shadow",
        "proc.name": "cat",
        "proc.cmdline": "cat /etc/shadow",
        "proc.exepath": "/usr/bin/cat",
        "proc.pname": "bash",
        "proc.aname[2]": "sshd",
        "user.name": "root",
        "container.id": "host",
        "k8s.pod.name": None,
    },
}


def test_what_a_recording_holds_becomes_cases_that_pass(tmp_path: Path) -> None:
    """Every alert of the shipped recording is made again, with its fields, from causes alone."""
    done = lanner("rules", "test", "--from", ROOT / "rules" / "acts.avro", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (tmp_path / "x_test.yaml").write_text(done.stdout)

    found = find_tests([str(tmp_path)], [str(ROOT / "rules" / "lanner_rules.yaml")])
    [tested] = found.tested
    runner = Runner(tested.suite, tested.rules, "first", lambda _path: ())

    assert found.problems == ()
    assert len(tested.suite.cases) >= 15
    assert [each for case in tested.suite.cases for each in runner.run(case).failures] == []
    assert "#" not in done.stdout


@pytest.mark.parametrize(
    "fields",
    [
        {
            "evt.type": "close",
            "evt.res": "EBADF",
            "proc.name": "evil",
            "proc.exepath": "/tmp/evil",
            "proc.exe": "./evil",
            "proc.args": "-c x",
            "proc.cwd": "/tmp/",
            "proc.tty": 34816,
            "proc.is_exe_from_memfd": True,
            "proc.script.path": "/srv/x.sh",
            "proc.script.origin": "dropped",
            "proc.script.written_by": "curl",
            "proc.pname": "bash",
            "proc.pcmdline": "bash -l",
            "proc.aname[2]": "sshd",
            "proc.aexepath[2]": "/opt/sshd",
            "user.uid": 1000,
            "user.name": "bob",
            "user.loginuid": 1000,
        },
        {
            "evt.type": "connect",
            "evt.io_uring": True,
            "proc.name": "curl",
            "proc.is_exe_upper_layer": True,
            "fd.file.origin": "dropped",
            "fd.file.package": "libc6",
            "fd.num": 5,
            "fd.type": "ipv6",
            "fd.l4proto": "udp",
            "fd.rip": "2001:db8::9",
            "fd.rport": 53,
            "fd.lip": "::1",
            "fd.lport": 4000,
            "container.id": "3d09256ebd53",
            "container.name": "web",
            "container.image.repository": "nginx",
            "container.image.tag": "1.27",
            "container.privileged": True,
            "k8s.pod.name": "web-0",
            "k8s.ns.name": "shop",
        },
        {"evt.type": "bind", "proc.name": "x", "fd.type": "unix", "fd.name": "/run/x.sock"},
        {"evt.type": "fchmod", "proc.name": "x", "fd.type": "directory", "fd.name": "/srv", "evt.arg.mode": "S_IRUSR"},
        {"evt.type": "openat", "proc.name": "x", "fd.name": "/x", "evt.is_open_read": True, "evt.is_open_write": True},
        {"evt.type": "rename", "proc.name": "x", "fs.path.source": "/a", "fs.path.target": "/b"},
    ],
    ids=lambda fields: fields["evt.type"],
)
def test_a_written_event_has_the_fields_that_it_was_written_from(fields: dict[str, Any]) -> None:
    """The keys of one table are read and written."""
    assert fields_of(json.dumps(write_event(fields)), *fields) == list(fields.values())


def test_an_alert_becomes_a_case_that_passes(tmp_path: Path) -> None:
    """This holds for whatever an alert contains: Falco's own JSON has the same fields."""
    done = lanner("rules", "test", "--from", json.dumps(ALERT), cwd=ROOT)
    (tmp_path / "x_test.yaml").write_text(done.stdout)

    run = lanner("rules", "test", tmp_path, "-r", ROOT / "rules" / "lanner_rules.yaml", "--junit", tmp_path / "j.xml")

    assert run.returncode == 0, run.stdout
    assert " 1 passed" in run.stdout
    assert 'evt.io_uring: "true"' in done.stdout
    assert (tmp_path / "j.xml").read_text().startswith("<?xml")


def test_what_an_alert_does_not_contain_is_reported() -> None:
    """The case is written all the same, with what doesn't fit above it."""
    alert = ALERT | {"rule": "Write below binary directory"}

    done = lanner("rules", "test", "--from", json.dumps(alert), cwd=ROOT)

    assert "# To be completed: expected, but not raised: Write below binary directory" in done.stdout


def test_what_is_no_alert_is_bad_input() -> None:
    """In a sentence."""
    done = lanner("rules", "test", "--from", "{}")
    assert (done.returncode, done.stderr) == (1, "error: {}: not an alert: it has no output_fields.\n")


def test_failing_tests_exit_with_1_and_the_reason(tmp_path: Path) -> None:
    """Wrong usage ends with 2."""
    (tmp_path / "x_test.yaml").write_text(
        f"rules: [{ROOT}/rules/lanner_rules.yaml]\n"
        "cases:\n- {name: a, given: {evt.type: openat, fd.name: /etc/shadow, proc: cat, flags: O_WRONLY},"
        " expect: Read sensitive file untrusted}\n"
    )

    done = lanner("rules", "test", tmp_path)
    assert done.returncode == 1
    assert "[evt.is_open_read = false]" in done.stdout
    assert "rules without a test" in done.stdout
    reported = json.loads(lanner("rules", "test", tmp_path, "--format", "json").stdout)
    assert reported["ok"] is False
    assert lanner("rules", "test", "--nonsense").returncode == 2
