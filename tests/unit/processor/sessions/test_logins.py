"""Whose login by SSH alerts are about."""

from dataclasses import replace
from typing import Any

import pytest

from processor.sessions import joins
from processor.sessions.joins import SshLogins
from processor.sessions.records import SshLogin, encode_session, session_record
from processor.sessions.sessions import Sessions
from schemas.batch import Container, EventBatch
from tests.unit.alerts import alert as alert_of
from tests.unit.processor.sessions.ssh import ACCEPTED, KEY, LOGIN, MACHINE, SECOND, acting, logged


def fields(batch: EventBatch, *lines: Any) -> dict[str, Any]:
    """Return what an alert on the event of a batch has of a person, after some lines."""
    known = Sessions()
    for each in lines:
        known.see_event(each)
    people = known.see_batch(batch)
    found = {} if people is None else people.name_alert(0, alert_of()).output_fields
    return {name: value for name, value in found.items() if name.startswith("session.")}


@pytest.mark.parametrize(
    "names",
    [
        ("sshd", "sshd", "bash"),
        ("sshd", "sshd", "sshd", "bash", "sudo", "cat"),
        ("sshd", "sshd-session", "sshd-session", "sftp-server"),
        ("systemd", "sshd", "sshd", "bash"),
    ],
)
def test_what_a_login_leads_to_names_who_from_where_with_which_key(names: tuple[str, ...]) -> None:
    """With privileges separated or not, as sshd-session since OpenSSH 9.8, and started by systemd for a socket."""
    assert fields(acting(names=names), logged()) == {
        "session.user": "alice",
        "session.sourceips": ("203.0.113.7",),
        "session.key": KEY,
    }


@pytest.mark.parametrize(
    ("batch", "line"),
    [
        (acting(), logged(pid=71_000)),
        (acting(hostname="web-2", host_id="f" * 32), logged()),
        (acting(hostname="web-2"), logged(_MACHINE_ID=None)),
        (acting(names=("cron", "cron", "bash")), logged()),
        (acting(names=("sshd",)), logged()),
        (acting(), logged(_SOURCE_REALTIME_TIMESTAMP=str((LOGIN - 60 * SECOND) // 1000))),
        (acting(), logged(_SOURCE_REALTIME_TIMESTAMP=str((LOGIN + 90 * SECOND) // 1000))),
        (acting(7 * 86_400 + 1), logged()),
    ],
)
def test_nobody_is_named_for_another_process_host_or_time(batch: EventBatch, line: Any) -> None:
    """A process that is older than the login and runs after it is the one that accepted it: ids are not used twice."""
    assert fields(batch, line) == {}


def test_a_process_in_a_container_is_not_the_hosts_sshd() -> None:
    """Its journal is another one."""
    batch = acting()
    batch.containers = [Container("3d09256ebd53", "3d09256ebd53" * 5, "docker")]
    batch.processes = [replace(each, container=0) for each in batch.processes]

    assert fields(batch, logged()) == {}


def test_a_host_whose_machine_id_is_not_logged_is_found_by_name() -> None:
    """An exporter may leave it out."""
    assert fields(acting(host_id="configured"), logged(_MACHINE_ID=None))["session.user"] == "alice"
    assert fields(acting(host_id="configured"), logged()) == {}


def test_the_newest_login_of_a_process_counts() -> None:
    """Process ids are used again."""
    day_before = str((LOGIN - 86_400 * SECOND) // 1000)
    former = logged(ACCEPTED.replace("alice", "bob"), _SOURCE_REALTIME_TIMESTAMP=day_before)

    assert fields(acting(), logged(), former)["session.user"] == "alice"


@pytest.mark.parametrize(
    ("message", "user", "address", "key"),
    [
        ("Accepted password for root from 2001:db8::7 port 1 ssh2", "root", "2001:db8::7", ""),
        ("Accepted password for a from fe80::1%eth0 port 22 ssh2", "a", "fe80::1", ""),
        ("Accepted keyboard-interactive/pam for bob from 192.0.2.1 port 22 ssh2", "bob", "192.0.2.1", ""),
        (f"Accepted publickey for bob from 192.0.2.1 port 22 ssh2: RSA {KEY}", "bob", "192.0.2.1", KEY),
        (
            f"Accepted publickey for bob from 192.0.2.1 port 22 ssh2: RSA-CERT {KEY} ID a SHA256:b (serial 0) CA RSA x",
            "bob",
            "192.0.2.1",
            KEY,
        ),
    ],
)
def test_accepted_logins_are_read(message: str, user: str, address: str, key: str) -> None:
    """As OpenSSH writes them, for each way to log in."""
    record = session_record(logged(message))

    assert isinstance(record, SshLogin)
    assert (record.person.user, record.person.addresses, record.person.key) == (user, (address,), key)
    assert (record.machine, record.hostname, record.pid, record.time) == (MACHINE, "web-1", 70, LOGIN)


@pytest.mark.parametrize(
    "message",
    [
        "Failed password for root from 192.0.2.1 port 22 ssh2",
        f"Failed password for invalid user {ACCEPTED} from 192.0.2.1 port 22 ssh2",
        f"Invalid user {ACCEPTED} from 192.0.2.1 port 22",
        f"Invalid user x\n{ACCEPTED}",
        "Accepted password for x from 192.0.2.9 port 1 ssh2 from 192.0.2.1 port 22 ssh2",
        "Accepted password for root from 192.0.2.1 port 2 from 192.0.2.1 port 22 ssh2",
        "Accepted password for invalid user root from 192.0.2.1 port 22 ssh2",
        "Accepted password for root from 192.0.2.999 port 22 ssh2",
        "Accepted password for root from UNKNOWN port 65535 ssh2",
        "Accepted password for  from 192.0.2.1 port 22 ssh2",
        f"Accepted password for {'x' * 101} from 192.0.2.1 port 22 ssh2",
        "Accepted key ED25519 SHA256:abc found at /home/x/.ssh/authorized_keys:1",
        f" {ACCEPTED}",
        "",
    ],
)
def test_lines_that_only_look_like_an_accepted_login_are_none(message: str) -> None:
    """Anyone who connects chooses the user's name in lines about refused logins."""
    assert session_record(logged(message)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"_UID": "1000"},
        {"_UID": None},
        {"_COMM": "logger"},
        {"_COMM": None},
        {"_PID": None, "SYSLOG_PID": "70"},
        {"_PID": "-70"},
        {"_PID": str(1 << 40)},
        {"MESSAGE": [65, 99]},
        {"MESSAGE": {"a": ACCEPTED}},
    ],
)
def test_lines_that_others_logged_are_no_logins(change: dict[str, Any]) -> None:
    """Every user may log as sshd; what the journal adds shows who did."""
    assert session_record(logged(**change)) is None


def test_the_line_of_another_exporter_is_read() -> None:
    """Vector names three fields otherwise."""
    renamed = {"MESSAGE": None, "_HOSTNAME": None, "_SOURCE_REALTIME_TIMESTAMP": None}
    line = logged(**renamed, message=ACCEPTED, host="web-1", timestamp="2026-11-25T10:34:15Z")

    assert fields(acting(), line)["session.user"] == "alice"


def test_another_processor_knows_the_login() -> None:
    """It reads the record that one has written."""
    known, other = Sessions(), Sessions()
    known.see_event(logged())
    for record in (*known.records(), *known.records()):
        other.put(*encode_session(record))
    people = other.see_batch(acting())

    assert people is not None
    assert people.name_alert(0, alert_of()).output.endswith(" session_user=alice")
    assert len(other) == 1


def test_logins_beyond_the_limit_are_evicted_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that reports many takes no room from others."""
    monkeypatch.setattr(joins, "MAX_LOGINS", 3)
    known = SshLogins()
    for number in range(5):
        record = session_record(logged(pid=100 + number, _MACHINE_ID="a" * 32))
        assert isinstance(record, SshLogin)
        known.add(record)
        if not number:
            known.add(replace(record, machine=MACHINE, pid=70))

    batch = acting()
    assert known.get(batch, batch.processes[1], LOGIN) is not None
    assert known.evicted == {"login": 3}
