import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.lanner.watching import RULES, Watching, eventually, loaded_programs, touch_mark

pytestmark = pytest.mark.live

SECOND = """
from lanner.detections import detect

names = set()

@detect(
    rule="Second",
    condition="evt.type = openat and fd.name startswith FOLDER/ and proc.name = cat",
    output="reads %fd.name",
    priority="Warning",
    fields=["fd.name"],
)
def second(event):
    "The second of a folder's files is read."
    names.add(event.fd.name)
    if len(names) == 2:
        yield {"names": len(names)}
"""


def test_an_alert_is_printed_as_it_comes_and_a_summary_at_the_end(rules: Path, tmp_path: Path) -> None:
    """The start line, the alert line, Falco's summary, exit code 0."""
    with Watching("run", "-r", rules) as lanner:
        kernel = platform.release().split("-")[0]
        assert lanner.err.wait_for("watching") == (
            f"lanner 0.1: watching {platform.node()} (kernel {kernel}), 1 rule from {rules} active. Stop: Ctrl-C"
        )
        mark = touch_mark(tmp_path)
        line = lanner.out.wait_for(str(mark))
        assert re.fullmatch(
            rf"\d\d:\d\d:\d\d\.\d{{9}}: Warning marked file read \(file={mark} command=cat {mark}\).*", line
        )
        assert lanner.end() == 0
    assert "Events detected: 1" in lanner.err.text
    assert "   WARNING: 1" in lanner.err.text
    assert "   Marked file read: 1" in lanner.err.text
    assert "Events lost: 0" in lanner.err.text


def test_a_function_in_python_decides_about_live_events(rules: Path, tmp_path: Path) -> None:
    """The kernel sends what its condition selects; its process ends with the run."""
    code = tmp_path / "second.py"
    code.write_text(SECOND.replace("FOLDER", str(tmp_path)))
    with Watching("run", "-r", rules, "-r", code) as lanner:
        touch_mark(tmp_path, "a")
        mark = touch_mark(tmp_path, "b")
        line = lanner.out.wait_for("names=2")
        assert f"Warning reads {mark}" in line
        assert lanner.end() == 0
    assert "   Second: 1" in lanner.err.text


def test_json_has_the_event_in_falcos_shape(rules: Path, tmp_path: Path) -> None:
    """One object a line, with the fields that the output names."""
    with Watching("run", "-r", rules, "--format", "json") as lanner:
        mark = touch_mark(tmp_path)
        reported = json.loads(lanner.out.wait_for(str(mark)))
    assert reported["rule"] == "Marked file read"
    assert reported["priority"] == "Warning"
    assert reported["hostname"] == platform.node()
    assert reported["output_fields"]["fd.name"] == str(mark)
    assert isinstance(reported["output_fields"]["evt.time"], int)


def test_no_program_is_left_in_the_kernel(rules: Path) -> None:
    """Neither after Ctrl-C nor after SIGTERM nor after SIGKILL."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with Watching("run", "-q", "-r", rules, started="") as lanner:
            eventually(lambda lanner=lanner: len(lanner.programs()) >= 3, "no BPF program was loaded")  # type: ignore[misc]
            programs = lanner.programs()
            assert programs <= loaded_programs()
            code = lanner.end(number)
            assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        eventually(lambda programs=programs: not programs & loaded_programs(), "a program was left")  # type: ignore[misc]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_can_be_stopped_at_any_time(rules: Path, number: signal.Signals) -> None:
    """While modules load, while eBPF compiles, while it attaches: no traceback, exit code 0."""
    for delay in (0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8):
        with Watching("run", "-r", rules, started="") as lanner:
            eventually(lanner.takes_signals, "it never took signals")
            time.sleep(delay)
            assert lanner.end(number) == 0, (delay, lanner.err.text)
        assert "Traceback" not in lanner.err.text


def test_a_reader_that_leaves_ends_it_quietly(rules: Path, tmp_path: Path) -> None:
    """`lanner run | head -1`: soon after head has gone, exit code 0 and no word about it."""
    lanner = f"'{sys.executable}' -m lanner run -q -o memory.enabled=false --keep 0 -r '{rules}'"
    command = f"{lanner} | head -1; echo ${{PIPESTATUS[0]}}"
    running = subprocess.Popen(
        ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        until = time.monotonic() + 20
        while running.poll() is None and time.monotonic() < until:
            mark = touch_mark(tmp_path)
            time.sleep(0.1)
        out, err = running.communicate(timeout=1)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    line, code = out.splitlines()
    assert str(mark) in line
    assert code == "0"
    # Containers of other tests may run at the same time, whose daemon listens elsewhere.
    assert [line for line in err.splitlines() if "facts about containers" not in line] == []


def test_sighup_takes_new_rules_and_refuses_bad_ones(rules: Path, tmp_path: Path) -> None:
    """A bad file leaves the old rules active and the reason is logged; a good one changes what is detected."""
    with Watching("run", "-r", rules, "-o", "watch_config_files=false") as lanner:
        rules.write_text(RULES.replace("fd.name", "fd.nam"))
        lanner.send(signal.SIGHUP)
        lanner.err.wait_for("keeping the previous settings and rules")
        assert f"{rules}:4:" in lanner.err.text
        lanner.out.wait_for(str(touch_mark(tmp_path, "kept")))

        rules.write_text(RULES.replace("marked file read", "changed words"))
        lanner.send(signal.SIGHUP)
        lanner.err.wait_for("rules changed: 1 change after SIGHUP; 1 rule from")
        lanner.send(signal.SIGHUP)
        lanner.err.wait_for("settings read again, no rule changed after SIGHUP; 1 rule from")
        mark = touch_mark(tmp_path, "changed")
        assert "changed words" in lanner.out.wait_for(str(mark))
        assert lanner.end() == 0


def test_a_changed_file_is_taken_without_a_signal(rules: Path, tmp_path: Path) -> None:
    """New event types are watched too, though the old rules never requested them."""
    with Watching("run", "-r", rules) as lanner:
        rules.write_text(
            RULES
            + "- rule: Renamed\n  desc: d\n  condition: evt.type = rename and evt.arg.newpath endswith .lanner-new\n"
            "  output: renamed %evt.arg.newpath\n  priority: NOTICE\n"
        )
        lanner.err.wait_for(f"rules changed: 1 change after change of {rules}; 2 rules from")
        (tmp_path / "x").write_text("")
        code = "import os, sys; os.rename(sys.argv[1], sys.argv[2])"
        subprocess.run([sys.executable, "-c", code, tmp_path / "x", tmp_path / "y.lanner-new"], check=True)
        assert "Notice renamed" in lanner.out.wait_for("y.lanner-new")


def current(flags: tuple[str, ...]) -> dict[str, bool]:
    """Return whether evaluation and each sink are in order, as `lanner status` shows."""
    command = [sys.executable, "-m", "lanner", "status", "--format", "json", *flags]
    findings = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout)["findings"]
    return {each["name"]: not each["is_problem"] for each in findings if each["subject"] in ("evaluation", "sink")}


def test_sigusr1_reopens_the_alert_file(rules: Path, tmp_path: Path) -> None:
    """As logrotate wants it. `lanner status` shows that detection is current, until it ends."""
    log = tmp_path / "alerts.log"
    flags = (
        "-o",
        "file_output.enabled=true",
        "-o",
        f"file_output.filename={log}",
        "-o",
        f"notifier.state_dir={tmp_path}",
    )
    with Watching("run", "-r", rules, *flags) as lanner:
        lanner.out.wait_for(str(touch_mark(tmp_path, "one")))
        log.rename(tmp_path / "alerts.log.1")
        lanner.send(signal.SIGUSR1)
        eventually(log.exists, "the file was not made anew")
        lanner.out.wait_for(str(touch_mark(tmp_path, "two")))
        eventually(lambda: current(flags) == {"this host": True, "stdout": True, "file": True}, "it is not current")
        assert lanner.end() == 0
    assert current(flags) == {"lanner run": False}
    assert "one.lanner-mark" in (tmp_path / "alerts.log.1").read_text()
    assert "two.lanner-mark" in log.read_text()
    assert "one.lanner-mark" not in log.read_text()


def test_in_the_journal_lines_carry_their_level(rules: Path, tmp_path: Path) -> None:
    """Standard output is a pipe here whose device and inode JOURNAL_STREAM names, as under systemd."""
    reader, writer = os.pipe()
    status = os.fstat(writer)
    environment = dict(os.environ) | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    nothing_stored = ("-o", "memory.enabled=false", "-o", "keep.size_mib=0")
    command = [sys.executable, "-m", "lanner", "run", *nothing_stored, "-r", str(rules)]
    with subprocess.Popen(command, stdout=writer, stderr=writer, env=environment) as running:
        os.close(writer)
        with os.fdopen(reader) as journal:
            lines = iter(journal)
            assert any("watching" in line and line.startswith("<6>") for line in lines)
            mark = touch_mark(tmp_path)
            assert next(line for line in lines if str(mark) in line).startswith("<4>")
            running.send_signal(signal.SIGTERM)
            assert str(mark) not in "".join(lines)
        assert running.wait(20) == 0


def test_systemd_learns_when_it_is_ready_and_when_it_ends(rules: Path, tmp_path: Path) -> None:
    """READY=1 comes once events flow, the watchdog beats, STOPPING=1 comes at the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        with Watching("run", "-q", "-r", rules, environment=environment, started="") as lanner:
            assert systemd.recv(100) == b"READY=1"
            mark = touch_mark(tmp_path)
            lanner.out.wait_for(str(mark))
            assert systemd.recv(100) == b"WATCHDOG=1"
            assert lanner.end(signal.SIGTERM) == 0
        reported = b""
        while reported != b"STOPPING=1":
            reported = systemd.recv(100)


def test_the_local_syslog_gets_the_alert(rules: Path, tmp_path: Path) -> None:
    """It is a datagram with the right priority."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        daemon.settimeout(20)
        flags = ("-o", "syslog_output.enabled=true", "-o", f"syslog_output.socket={tmp_path}/log")
        with Watching("run", "-r", rules, *flags):
            mark = touch_mark(tmp_path)
            reported = ""
            while str(mark) not in reported:
                reported = daemon.recv(10_000).decode()
    assert reported.startswith("<132>")


def test_losses_become_an_internal_alert(rules: Path, tmp_path: Path) -> None:
    """Stopped while another program opens files, a small ring overflows: that is counted and reported."""
    flags = (
        "-o",
        "collector.ring_mib=1",
        "-o",
        "collector.lifecycle_ring_mib=1",
        "-o",
        "collector.count_repeats=false",
    )
    with Watching("run", "-r", rules, *flags) as lanner:
        # Files that the rule is about: others would not leave the kernel.
        mark = touch_mark(tmp_path)
        lanner.send(signal.SIGSTOP)
        code = "import sys\nfor _ in range(30000): open(sys.argv[1]).close()"
        subprocess.run([sys.executable, "-c", code, mark], check=True)
        lanner.send(signal.SIGCONT)
        line = lanner.out.wait_for("events were lost")
        assert re.search(r": Warning \d+ events were lost \| events_over_share: \d+", line)
        assert lanner.end() == 0
    assert "Lanner internal: events lost: " in lanner.err.text
    assert re.search(r"Events lost: [\d,]{4,} \(events_over_share: ", lanner.err.text)
