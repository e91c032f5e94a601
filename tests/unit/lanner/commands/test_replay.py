import json
import os
import threading
from pathlib import Path
from typing import Never

import pytest
from click.testing import CliRunner

from lanner.cli.app import lanner_command
from lanner.settings.sections.model import KINDS
from lanner.wiring.sinks.kinds import SinkContext, SinkKind
from lanner.wiring.sinks.registry import SINKS
from tests.unit.lanner.captures.format import scap_files
from tests.unit.lanner.sources.documents import PUSH
from tests.unit.lanner.test_rules_commands import rules
from tests.unit.processor.detection.requests import exec_request, line, request
from tests.unit.processor.sessions import shells, ssh
from tests.unit.recordings import shadow_read, write_recording


def test_replay_sends_alerts_to_standard_output_and_no_other_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever sinks the settings enable, and of whatever kind: an old alert must not look like a new one."""

    def refuse(context: SinkContext) -> Never:
        raise AssertionError(f"{context.name} was opened")

    for kind in SINKS:
        monkeypatch.setitem(SINKS, kind, SinkKind(refuse, prepare_direct=refuse))
    lines = [f"{kind}_output: {{enabled: true}}" for kind in KINDS]
    lines += ["sinks:", *(f"  my_{kind}: {{type: {kind}}}" for kind in KINDS)]
    lines += ["stdout_output: {enabled: false}", "mute: [{match: {}}]", "routes: [{sink: my_file}]"]
    config = tmp_path / "lanner.yaml"
    config.write_text("\n".join(lines))
    recording = write_recording(tmp_path / "shadow.avro", shadow_read())

    words = ["-c", config, "replay", recording, "-r", rules(tmp_path), "--format", "json", "-q"]
    done = CliRunner().invoke(lanner_command, [str(word) for word in words], catch_exceptions=False)

    assert done.exit_code == 0
    assert json.loads(done.stdout)["priority"] == "Warning"


AUDIT_RULE = """
- rule: Exec
  desc: d
  condition: ka.target.subresource = exec
  output: exec (%ka.user.name)
  priority: NOTICE
  source: k8s_audit
"""


@pytest.mark.parametrize("form", ["text", "line", "json"])
def test_replay_evaluates_audit_logs_and_recordings_together(tmp_path: Path, form: str) -> None:
    """Each file goes to the rules of its source, in every format of alerts."""
    log = tmp_path / "audit.log"
    log.write_bytes(line(request()) + line(exec_request("sh")))
    recording = write_recording(tmp_path / "shadow.avro", shadow_read())
    own = rules(tmp_path), rules(tmp_path, AUDIT_RULE, "audit.yaml")

    words = ["replay", log, recording, "-r", own[0], "-r", own[1], "--format", form]
    done = CliRunner().invoke(lanner_command, [str(word) for word in words], catch_exceptions=False)

    assert done.exit_code == 0
    assert "exec (alice)" in done.stdout
    assert "/etc/shadow" in done.stdout
    if form == "json":
        assert [json.loads(each)["source"] for each in done.stdout.splitlines()] == ["syscall", "k8s_audit"]


def test_replay_reports_that_no_rule_is_about_audit_events(tmp_path: Path) -> None:
    """Silence would look as if nothing had happened."""
    log = tmp_path / "audit.log"
    log.write_bytes(line(request()) + b"{]")

    done = CliRunner().invoke(lanner_command, ["replay", str(log), "-r", str(rules(tmp_path))], catch_exceptions=False)

    assert done.exit_code == 0
    assert "no active rule has the source k8s_audit" in done.stderr
    assert "1 line can't be read" in done.stderr


def test_replay_evaluates_a_capture_from_a_pipe_and_reports_its_end(tmp_path: Path) -> None:
    """What comes before the damage raises alerts; then the error has the place."""
    data = scap_files.capture(*scap_files.cloned(20, 10, "bash"), scap_files.opened(10, 3, "/etc/shadow"))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data + b"\x16\x02\0\0",))
    writer.start()
    rule = "- rule: Opened\n  desc: d\n  condition: evt.type = openat and fd.name = /etc/shadow\n"
    own = rules(tmp_path, f"{rule}  output: by %proc.name at %evt.num\n  priority: NOTICE\n", "opened.yaml")

    words = ["replay", pipe, "-r", own, "--format", "json"]
    done = CliRunner().invoke(lanner_command, [str(word) for word in words])
    writer.join()

    assert "by bash at 3" in json.loads(done.stdout)["output"]
    assert done.exit_code != 0
    assert f"{pipe}: at byte {len(data):,}: the file ends within the head of a block" in str(done.exception)


def test_replay_evaluates_json_of_a_chosen_source(tmp_path: Path) -> None:
    """Rules of other sources don't see it; a line with a key twice is refused."""
    log = tmp_path / "github.jsonl"
    log.write_text(f'{json.dumps(PUSH)}\n{{"a": 1, "a": 2}}\n')
    condition = 'github.type = push and github.repo.public = true and json.value[/head_commit/id] = "6dcb09b5"'
    tail = "  output: push by %github.user to %github.repo.name\n  priority: NOTICE\n  source: github\n"
    own = rules(tmp_path, f"- rule: Push\n  desc: d\n  condition: {condition}\n{tail}", "github.yaml")

    words = ["replay", log, "--source", "github", "-r", own, "--format", "json"]
    done = CliRunner().invoke(lanner_command, [str(word) for word in words], catch_exceptions=False)

    alert = json.loads(done.stdout)
    assert (alert["rule"], alert["source"], alert["time"]) == ("Push", "github", "2026-11-25T10:34:15.000000000Z")
    assert "push by eve to acme/app" in alert["output"]
    assert "line 2: the key 'a' occurs twice in an object" in done.stderr


def test_replay_reads_json_of_a_chosen_source_after_a_line_that_is_no_text(tmp_path: Path) -> None:
    """Only that line is refused, with file, number and reason: the source states what the file holds."""
    log = tmp_path / "github.jsonl"
    log.write_bytes(b"\x89\xff\0{\n" + json.dumps(PUSH).encode() + b"\n")
    condition = "  condition: github.type = push\n"
    own = rules(
        tmp_path, f"- rule: Push\n  desc: d\n{condition}  output: o\n  source: github\n  priority: NOTICE\n", "g"
    )

    words = ["replay", log, "--source", "github", "-r", own, "--format", "json"]
    done = CliRunner().invoke(lanner_command, [str(word) for word in words], catch_exceptions=False)

    assert json.loads(done.stdout)["rule"] == "Push"
    assert f"{log}: 1 line can't be read and were not evaluated; the first is line 1: not JSON" in done.stderr


def test_replay_refuses_a_source_that_does_not_exist(tmp_path: Path) -> None:
    """The nearest name is suggested."""
    done = CliRunner().invoke(lanner_command, ["replay", str(tmp_path), "--source", "githb"])

    assert "unknown source 'githb'; did you mean 'github'?" in str(done.exception)


def test_replay_names_the_person_who_opened_a_shell(tmp_path: Path) -> None:
    """The audit log is evaluated together with the recording, by time."""
    log = tmp_path / "audit.log"
    log.write_bytes(line(shells.requested(0).document))
    recording = write_recording(tmp_path / "shell.avro", shells.started(1))
    condition = "  condition: evt.type = execve and proc.name = sh\n"
    own = rules(tmp_path, f"- rule: Shell\n  desc: d\n{condition}  output: shell\n  priority: NOTICE\n", "shell.yaml")

    words = ["replay", recording, log, "-r", own, "--format", "json"]
    done = CliRunner().invoke(lanner_command, [str(word) for word in words], catch_exceptions=False)

    alert = json.loads(done.stdout)
    assert alert["output"].endswith(" session_user=eve")
    assert alert["output_fields"]["session.groups"] == ["dev"]


def test_replay_names_the_person_who_logged_in_by_ssh(tmp_path: Path) -> None:
    """The journal's lines are evaluated together with the recording, by time."""
    journal = tmp_path / "journal.json"
    journal.write_bytes(line(ssh.logged().document))
    recording = write_recording(tmp_path / "shell.avro", ssh.acting())
    condition = "  condition: evt.type = openat and proc.name = cat\n"
    own = rules(tmp_path, f"- rule: Read\n  desc: d\n{condition}  output: read\n  priority: NOTICE\n", "read.yaml")

    words = ["replay", recording, journal, "--source", "sshd", "-r", own, "--format", "json"]
    done = CliRunner().invoke(lanner_command, [str(word) for word in words], catch_exceptions=False)

    alert = json.loads(done.stdout)
    assert alert["output"].endswith(" session_user=alice")
    assert alert["output_fields"]["session.key"] == ssh.KEY
