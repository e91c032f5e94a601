import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from bus.connection import Connection
from bus.topics import KUBERNETES_AUDIT
from lanner.archive.files import file_name, folder_of, hour_of
from lanner.archive.rows import ArchivedBatch, tables
from lanner.archive.schema import EVENTS
from lanner.recorder.store import StoredBatch
from tests.cluster.test_dead_letters import everything
from tests.deploy.delivery import STAGES, assert_delivered, configure
from tests.deploy.machine import Machine
from tests.live.needs import lacking
from tests.unit.processor.batches import INIT, TIME, batch_of
from tests.unit.processor.detection.requests import line, request

UNITS = Path("deploy/systemd")
PAGE = Path("docs/installing.md")
INSTANCES = {"lanner-processor@.service": "1", "lanner-notifier@.service": "slack"}
NAMES = sorted(path.name for path in UNITS.glob("*.service"))


@pytest.fixture
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a copy of a unit whose program exists; an instance if it is a template."""
    if shutil.which("systemd-analyze") is None:
        lacking("systemd-analyze is not installed")
    name: str = request.param
    copy = tmp_path / name.replace("@.", f"@{INSTANCES.get(name)}.")
    program = str(Path(sys.executable).with_name("lanner"))
    copy.write_text((UNITS / name).read_text().replace("/usr/local/bin/lanner", program))
    return copy


@pytest.mark.parametrize("unit", NAMES, indirect=True)
def test_systemd_finds_nothing_to_report_about_a_unit(unit: Path) -> None:
    """`systemd-analyze verify` exits with 0 on unknown keys, so any text on stderr counts."""
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@pytest.mark.parametrize("unit", NAMES, indirect=True)
def test_the_page_reports_each_unit_s_exposure(unit: Path) -> None:
    """The figure of `systemd-analyze security` in docs is current or better."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    reported = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", reported)
    written = re.search(
        rf"^\| `{re.escape(unit.name.replace('@1', '@').replace('@slack', '@'))}` .*\| ([\d.]+) \|$",
        PAGE.read_text(),
        re.MULTILINE,
    )

    assert exposure is not None
    assert written is not None
    assert float(exposure[1]) <= float(written[1])


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Boot a machine with systemd."""
    if os.geteuid() != 0 or shutil.which("systemctl") is None:
        lacking("needs root and systemd")
    folder = tmp_path / "machine"
    folder.mkdir()
    made = Machine(folder, Path.cwd())
    yield made
    made.stop()


def test_units_start_deliver_reload_and_stop(machine: Machine, connection: Connection, tmp_path: Path) -> None:
    """A processor and a notifier notify a real systemd, and an alert passes both."""
    machine.write("/etc/lanner/processor.env", "LANNER__LOG_LEVEL=debug\n", "0600")
    assert_delivered(machine, connection, tmp_path, 30)

    owner = machine("ps", "-o", "user=", "-p", machine("systemctl", "show", "-P", "MainPID", STAGES[0]).stdout.strip())
    assert owner.stdout.strip() not in {"", "root"}
    assert machine("systemctl", "reload", STAGES[1]).returncode == 0
    machine.wait_until(lambda: "settings reloaded" in machine.journal(STAGES[1]), 20)
    assert machine("systemctl", "stop", *STAGES).returncode == 0
    for unit in STAGES:
        assert machine("systemctl", "show", "-P", "Result", unit).stdout.strip() == "success", machine.journal(unit)
        assert "Traceback" not in machine.journal(unit)


def test_the_console_reads_the_tokens_that_root_makes(machine: Machine, connection: Connection) -> None:
    """Those of before its first start, and those of later; it runs as a user of its own."""
    configure(machine, connection, "console: {listen: '127.0.0.1:18778'}")

    def token(name: str) -> str:
        made = machine(
            *("env", "LANNER__CONSOLE__STATE_DIR=/var/lib/lanner-console"),
            *("lanner", "console", "token", "create", name, "--role", "analyst"),
        )
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def name_of(secret: str) -> str:
        request = (
            "import sys, urllib.request as u; r = u.Request('http://127.0.0.1:18778/api/me'); "
            "r.add_header('Authorization', 'Bearer ' + sys.argv[1]); sys.stdout.write(u.urlopen(r).read().decode())"
        )
        return machine("python3", "-c", request, secret).stdout

    before = token("alice")
    started = machine("systemctl", "start", "lanner-console")
    assert started.returncode == 0, started.stderr + machine.journal("lanner-console")
    assert '"alice"' in name_of(before)
    assert '"bob"' in name_of(token("bob"))
    assert '"alice"' not in name_of("lanner_none")
    owner = machine(
        "ps", "-o", "user=", "-p", machine("systemctl", "show", "-P", "MainPID", "lanner-console").stdout.strip()
    )
    assert owner.stdout.strip() not in {"", "root"}
    assert machine("systemctl", "restart", "lanner-console").returncode == 0
    assert '"alice"' in name_of(before)
    assert machine("systemctl", "stop", "lanner-console").returncode == 0
    result = machine("systemctl", "show", "-P", "Result", "lanner-console").stdout.strip()
    assert result == "success", machine.journal("lanner-console")


ASK = """
import json, sys, urllib.request as u
body = json.dumps({"q": sys.argv[2], "language": sys.argv[3], "place": "archive", "since": "all"}).encode()
headers = {"Authorization": "Bearer " + sys.argv[1], "Content-Type": "application/json", "X-Lanner-Request": "test"}
print(u.urlopen(u.Request("http://127.0.0.1:18779/api/hunt", body, headers)).read().decode())
"""


def test_the_console_hunts_within_the_limits_of_its_unit(machine: Machine, connection: Connection) -> None:
    """By a condition and by SQL; one that takes too much memory ends, and the console doesn't."""
    configure(machine, connection, "console: {listen: '127.0.0.1:18779', archive: /srv/archive}")
    parts = [ArchivedBatch(StoredBatch(batch_of({"type": "execve"}, processes=[INIT]), TIME // 1_000_000), 0, 0)]
    (rows,) = tables(parts)
    made = pa.BufferOutputStream()
    parquet.write_table(rows.cast(EVENTS), made, compression="zstd")
    hour = hour_of(TIME // 1_000_000)
    path = f"/srv/archive/events/{folder_of(hour)}/{file_name(0, 0, hour)}"
    machine.write(f"{path}.base64", b64encode(made.getvalue()).decode())
    script = f"mkdir /srv/archive/batches; base64 -d {path}.base64 > {path}; rm {path}.base64; chmod -R a+rX /srv"
    assert machine("sh", "-c", script).returncode == 0
    state = "LANNER__CONSOLE__STATE_DIR=/var/lib/lanner-console"
    token = machine("env", state, "lanner", "console", "token", "create", "alice", "--role", "analyst").stdout.strip()
    started = machine("systemctl", "start", "lanner-console")
    assert started.returncode == 0, started.stderr + machine.journal("lanner-console")

    found = machine("python3", "-c", ASK, token, "evt.type = execve and not evt.info contains x", "condition")
    assert '"total": 1' in found.stdout, found.stdout + found.stderr + machine.journal("lanner-console")
    found = machine("python3", "-c", ASK, token, "SELECT evt_type, count(*) FROM events GROUP BY ALL", "sql")
    assert '["execve", "1"]' in found.stdout, found.stdout + found.stderr + machine.journal("lanner-console")
    found = machine("python3", "-c", ASK, token, "SELECT range(1000000000)", "sql")
    assert "needs more than" in found.stdout or "may have needed more memory" in found.stdout, found.stdout
    assert machine("systemctl", "stop", "lanner-console").returncode == 0
    assert "Traceback" not in machine.journal("lanner-console")


def test_audit_events_are_taken_from_a_webhook_and_a_file_of_root(machine: Machine, connection: Connection) -> None:
    """It runs as a user of its own, which the drop-in lets read the file."""
    configure(machine, connection, "kubernetes_audit: {listen: '127.0.0.1:18765', file: /var/log/kubernetes/audit.log}")
    machine.write("/etc/lanner/kubernetes-audit.env", "LANNER_KUBERNETES_AUDIT_TOKEN=s3cret\n", "0600")
    machine.write("/var/log/kubernetes/audit.log", line(request(auditID="of-file")).decode(), "0600")
    drop_in = "/etc/systemd/system/lanner-kubernetes-audit.service.d/file.conf"
    machine.write(drop_in, (UNITS / "kubernetes-audit-file.conf").read_text())
    assert machine("systemctl", "daemon-reload").returncode == 0
    started = machine("systemctl", "start", "lanner-kubernetes-audit")
    assert started.returncode == 0, started.stderr + machine.journal("lanner-kubernetes-audit")

    post = (
        "import sys, urllib.request as u; r = u.Request('http://127.0.0.1:18765/', sys.argv[1].encode()); "
        "r.add_header('Authorization', 'Bearer s3cret'); sys.stdout.write(str(u.urlopen(r).status))"
    )
    assert machine("python3", "-c", post, line(request(auditID="of-webhook")).decode()).stdout == "200"
    machine.wait_until(
        lambda: {key for _, key, _, _ in everything(connection, KUBERNETES_AUDIT)} == {b"of-file", b"of-webhook"}, 30
    )
    pid = machine("systemctl", "show", "-P", "MainPID", "lanner-kubernetes-audit").stdout.strip()
    assert machine("ps", "-o", "user=", "-p", pid).stdout.strip() not in {"", "root"}
    assert machine("systemctl", "restart", "lanner-kubernetes-audit").returncode == 0
    assert machine("systemctl", "stop", "lanner-kubernetes-audit").returncode == 0
    result = machine("systemctl", "show", "-P", "Result", "lanner-kubernetes-audit").stdout.strip()
    assert result == "success", machine.journal("lanner-kubernetes-audit")
    assert len(everything(connection, KUBERNETES_AUDIT)) == 2


def test_a_collector_that_cannot_work_states_why_and_is_not_started_again(
    machine: Machine, connection: Connection
) -> None:
    """In a pid namespace it sees other pids than the kernel; it exits with 3, and systemd doesn't restart it."""
    configure(machine, connection)

    assert machine("systemctl", "start", "lanner-collector").returncode != 0

    assert machine("systemctl", "show", "-P", "ExecMainStatus", "lanner-collector").stdout.strip() == "3", (
        machine.journal("lanner-collector")
    )
    assert machine("systemctl", "show", "-P", "NRestarts", "lanner-collector").stdout.strip() == "0"
    assert "doctor" in machine.journal("lanner-collector")


def test_a_process_is_killed_by_the_unit_that_acts(machine: Machine) -> None:
    """With the rights that its unit leaves it; the next start knows what was done."""
    machine.write("/etc/lanner/lanner.yaml", "collector: {actions: {enabled: [kill]}}\nhost: {id: h}\n")
    unit = "lanner-actions"
    for _ in range(2):
        started = machine("systemctl", "restart", unit)
        assert started.returncode == 0, started.stderr + machine.journal(unit)
        done = machine("/opt/checkout/.venv/bin/python", "-c", _KILL)
        assert done.stdout == "done killed 1 process\n-9\n", done.stderr + machine.journal(unit)
    assert machine("systemctl", "stop", unit).returncode == 0
    assert machine("systemctl", "show", "-P", "Result", unit).stdout.strip() == "success", machine.journal(unit)


_KILL = """
import subprocess, sys, time
sys.path.insert(0, "/opt/checkout")
from pathlib import Path
from collector.actions.socket import ActionsClient
from collector.procfs.parse import parse_stat
from schemas.action import ActionIntent, encode_action_record

process = subprocess.Popen(("sleep", "60"))
ticks = parse_stat(Path(f"/proc/{process.pid}/stat").read_bytes()).start_ticks
now = time.time_ns()
start = ticks * 10_000_000 + now - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
intent = ActionIntent(f"i{now}", "kill", "process", "h", "", "do", "process", now, pid=process.pid, start_time=start)
client = ActionsClient(Path("/run/lanner-actions/socket"))
client.send_intent(encode_action_record(intent), b"", now, now)
for _ in range(2000):
    for result in client.poll():
        if result.intent == intent.id and result.outcome != "received":
            print(result.outcome, result.text)
            print(process.wait())
            client.poll()
            sys.exit()
    time.sleep(0.01)
print(client.last_error)
"""
