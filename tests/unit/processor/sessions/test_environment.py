"""Who logged in by SSH, as far as processes themselves show it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lanner.settings import load_settings
from lanner.wiring.rules import load_detection
from processor.sessions.joins import person_in
from processor.sessions.records import Person
from processor.sessions.sessions import Sessions
from schemas.batch import EventBatch
from tests.unit.alerts import alert as alert_of
from tests.unit.processor.sessions.ssh import acting, logged

CONNECTION = "SSH_CONNECTION=203.0.113.7 50022 192.0.2.1 22"
SSHD, SESSION = "/usr/sbin/sshd", "/usr/lib/openssh/sshd-session"
SEPARATED: list[dict[str, Any]] = [
    {"name": "sshd", "exepath": SSHD, "uid": 0},
    {"name": "sshd-session", "exepath": SESSION, "uid": 0},
    {"name": "sshd-session", "exepath": SESSION, "uid": 1000},
    {"name": "bash", "exepath": "/bin/bash", "uid": 1000, "user": "alice", "env": (CONNECTION,)},
    {"name": "cat", "exepath": "/bin/cat", "uid": 0},
]


def tree(*changes: dict[str, Any]) -> EventBatch:
    """Return a batch of a process below a login, with changed processes, the first one first."""
    batch = acting()
    facts = [plain | change for plain, change in zip(SEPARATED, (*changes, *[{}] * 5), strict=False)]
    batch.processes = [replace(each, **fact) for each, fact in zip(batch.processes, facts, strict=True)]
    return batch


def test_all_below_a_login_names_account_and_address() -> None:
    """Also what sudo runs, whose environment lacks the variable; the log adds the key."""
    known, batch = Sessions(), tree()
    found = []
    for _ in range(2):
        people = known.see_batch(batch)
        assert people is not None
        found.append(people.name_alert(0, alert_of()))
        known.see_event(logged())
    by_environment, by_log = found

    assert by_environment.output_fields["session.sourceips"] == ("203.0.113.7",)
    assert by_environment.output.endswith(" session_user=alice")
    assert "session.key" not in by_environment.output_fields
    assert "session.key" in by_log.output_fields


@pytest.mark.parametrize(
    ("changes", "person"),
    [
        ([], Person("alice", ("203.0.113.7",))),
        ([{}, {"name": "sshd", "exepath": SSHD}, {"name": "sshd", "exepath": SSHD}], Person("alice", ("203.0.113.7",))),
        ([{}, {}, {"uid": 0}, {"uid": 0, "user": None}], Person("0", ("203.0.113.7",))),
        ([{}, {}, {}, {"env": ("A=b", "SSH_CONNECTION=2001:db8::7 1 ::1 22")}], Person("alice", ("2001:db8::7",))),
        ([{}, {}, {}, {"env": ("SSH_CONNECTION=UNKNOWN 65535 UNKNOWN 65535",)}], None),
        ([{}, {}, {}, {"env": ("SSH_CONNECTION=",)}], None),
        ([{}, {}, {}, {"env": None}], None),
        ([{}, {}, {}, {"uid": None, "user": None}], None),
        ([{}, {}, {"name": "bash"}], None),
        ([{}, {}, {"exepath": "/home/alice/sshd"}], None),
        ([{}, {}, {"exepath": None}], None),
        ([{}, {"uid": 1000}, {}], None),
        ([{"uid": 1000}, {"name": "bash", "uid": 1000}, {"exepath": "/home/alice/sshd"}], None),
    ],
)
def test_only_what_roots_sshd_started_counts(changes: list[dict[str, Any]], person: Person | None) -> None:
    """A user may run another sshd, or another program of its name, with any environment."""
    batch = tree(*changes)

    assert person_in(batch, batch.processes[3]) == person
    assert person_in(batch, batch.processes[4]) is None


def test_the_documented_setting_collects_the_variable(tmp_path: Path) -> None:
    """Collectors send no variable that nothing names."""
    page = (Path(__file__).parents[4] / "docs" / "json-sources.md").read_text()
    _, start, rest = page.partition("append_output:")
    file = tmp_path / "lanner.yaml"
    file.write_text(start + rest.partition("```")[0])
    rules = f"rules_files=[{Path(__file__).parents[4] / 'rules'}]"

    assert "SSH_CONNECTION" in load_detection(load_settings(file, {}, [rules]), warnings=False).variables
    assert "SSH_CONNECTION" not in load_detection(load_settings(None, {}, [rules]), warnings=False).variables
