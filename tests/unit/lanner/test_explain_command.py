import json
import shlex
from pathlib import Path

from tests.unit.lanner.program import lanner
from tests.unit.lanner.sources.documents import LOCKED
from tests.unit.processor.correlation.rules import NEW_PROGRAM, SSH, rule
from tests.unit.processor.detection.log_entries import exec_entry
from tests.unit.processor.detection.requests import exec_request, line, request

ROOT = Path(__file__).parents[3]
RULE = "Read sensitive file untrusted"
STATED = '{"evt.type": "openat", "fd.name": "/etc/shadow", "flags": "O_RDONLY", "proc": "cat"}'


def test_a_stated_event_is_explained() -> None:
    """Macros are shown by name and expanded on request; JSON is for programs."""
    short = lanner("rules", "explain", RULE, "--event", STATED, cwd=ROOT)
    assert short.returncode == 0, short.stderr
    assert short.stdout.splitlines()[0].endswith("matches")
    assert "true       macro sensitive_file ..." in short.stdout

    whole = lanner("rules", "explain", RULE, "--event", STATED, "--expand", cwd=ROOT).stdout
    assert "/etc/master.passwd)   [fd.name = /etc/shadow]" in whole

    reported = json.loads(lanner("rules", "explain", RULE, "--event", STATED, "--format", "json", cwd=ROOT).stdout)
    assert (reported["matches"], reported["condition"]["kind"]) == (True, "and")


def test_the_line_of_a_rule_test_is_an_event() -> None:
    """YAML as it is written there, also as an item of its list."""
    line_of_test = "{evt.type: openat, fd.name: /etc/shadow, flags: O_RDONLY, proc: cat}"
    for event in (line_of_test, f"- {line_of_test}"):
        done = lanner("rules", "explain", RULE, "--event", event, cwd=ROOT)
        assert done.stdout.splitlines()[0].endswith("matches"), done.stderr


def test_all_events_of_a_recording_are_explained() -> None:
    """One line for each of the types that the rule is evaluated for, by evt.num."""
    name, recording = "Load kernel module", ROOT / "rules" / "acts.avro"
    done = lanner("rules", "explain", name, "--event", recording, "--all", cwd=ROOT)
    rows = json.loads(
        lanner("rules", "explain", name, "--event", recording, "--all", "--format", "json", cwd=ROOT).stdout
    )
    assert [each["num"] for each in rows] == [int(each.split()[0]) for each in done.stdout.splitlines()]
    assert any(each["matches"] for each in rows)


def test_an_event_of_a_recording_is_found_by_its_number() -> None:
    """An event is found by the evt.num of its alert."""
    recording = ROOT / "rules" / "acts.avro"
    done = lanner("rules", "explain", RULE, "--event", recording, cwd=ROOT)
    assert done.returncode == 1
    assert "choose one by --num" in done.stderr

    assert "evt.num" in lanner("rules", "explain", RULE, "--event", recording, "--num", "999999999", cwd=ROOT).stderr
    assert lanner("rules", "explain", RULE, "--event", recording, "--num", "1", cwd=ROOT).returncode == 0


def alerts(folder: Path) -> Path:
    """Write the alerts that the shipped rules raise on the recording of harmless actions."""
    path = folder / "alerts.json"
    path.write_text(lanner("replay", ROOT / "rules" / "acts.avro", "--format", "json", cwd=ROOT).stdout)
    return path


def test_an_alert_that_lacks_fields_gets_no_answer_but_those_fields(tmp_path: Path) -> None:
    """Also for the rule that raised it; nothing is claimed about what the alert doesn't carry."""
    first = alerts(tmp_path).read_text().splitlines()[0]
    done = lanner("rules", "explain", RULE, "--event", first, cwd=ROOT)

    head, remark = done.stdout.splitlines()[:2]
    assert "can't tell: the event as passed doesn't carry evt.rawres, evt.is_open_read, proc.codepath, " in head
    assert remark.startswith("This alert was raised by the rule")
    assert "unknown        evt.is_open_read = true   [evt.is_open_read?]" in done.stdout

    facts = json.loads(lanner("rules", "explain", RULE, "--event", first, "--format", "json", cwd=ROOT).stdout)
    assert (facts["answer"], facts["matches"]) == ("can't tell", None)
    assert facts["lacking"][:3] == ["evt.rawres", "evt.is_open_read", "proc.codepath"]


def test_the_whole_event_of_an_alert_is_looked_up_by_its_id(tmp_path: Path) -> None:
    """In a recording, a folder of recordings, and the recording of this host."""
    identity = json.loads(alerts(tmp_path).read_text().splitlines()[0])["id"]
    recording = ROOT / "rules" / "acts.avro"
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "1.avro").write_bytes(recording.read_bytes())

    for where in (("--event", recording), ("--event", kept), ("-o", f"keep.folder={kept}")):
        done = lanner("rules", "explain", RULE, "--event-id", identity, *where, cwd=ROOT)
        assert done.stdout.splitlines()[0].endswith(") matches"), done.stderr
    other = lanner(
        "rules",
        "explain",
        RULE,
        "--event-id",
        f"{identity[:-1]}{'10'[identity[-1] == '1']}",
        "--event",
        recording,
        cwd=ROOT,
    )
    assert (other.returncode, "is not retained" in other.stderr) == (1, True)


def test_of_several_alerts_one_is_chosen_or_all_are_explained(tmp_path: Path) -> None:
    """One is never taken silently."""
    path = alerts(tmp_path)
    number = len(path.read_text().splitlines())

    none = lanner("rules", "explain", RULE, "--event", path, cwd=ROOT)
    assert (none.returncode, f"has {number} events; choose one by --num (1 to {number})" in none.stderr) == (1, True)
    raised = [json.loads(line) for line in path.read_text().splitlines()]
    mount = next(i for i, alert in enumerate(raised) if alert["rule"] == "Mount exposes system files")
    chosen = [
        lanner("rules", "explain", RULE, "--event", path, *by, cwd=ROOT).stdout
        for by in (("--num", str(mount + 1)), ("--event-id", raised[mount]["id"]))
    ]
    assert chosen[0] == chosen[1]
    assert chosen[0].splitlines()[0].endswith("does not match: it isn't evaluated for events of type mount")

    every = lanner("rules", "explain", RULE, "--event", path, "--all", cwd=ROOT).stdout.splitlines()
    assert len(every) == number
    assert every[0].strip().startswith("1  can't tell: ")
    rows = json.loads(lanner("rules", "explain", RULE, "--event", path, "--all", "--format", "json", cwd=ROOT).stdout)
    assert {row["answer"] for row in rows} == {"can't tell", "does not match"}


def test_the_checks_that_decided_are_in_the_answer() -> None:
    """An event type for which the rule isn't evaluated decides alone; an exception is named."""
    wrong = json.dumps({**json.loads(STATED), "fd.name": "/etc/hostname"})
    first = lanner("rules", "explain", RULE, "--event", wrong, cwd=ROOT).stdout.splitlines()[0]
    assert "does not match: fd.name in (/etc/shadow" in first
    assert "[fd.name = /etc/hostname]" in first

    closed = lanner("rules", "explain", RULE, "--event", '{"evt.type": "close"}', cwd=ROOT).stdout
    assert closed.splitlines()[0].endswith("does not match: it isn't evaluated for events of type close")


def test_the_examples_of_the_help_work(tmp_path: Path) -> None:
    """With the files that they name."""
    path = alerts(tmp_path)
    (tmp_path / "incident.avro").write_bytes((ROOT / "rules" / "acts.avro").read_bytes())
    identity = json.loads(path.read_text().splitlines()[0])["id"]
    example = lanner("rules", "explain", "--help").stdout.split("Example:")[1]
    answers = []
    for command in filter(None, map(str.strip, example.splitlines())):
        words = [identity if word.startswith("01a20e63") else word for word in shlex.split(command)[1:]]
        done = lanner(*words, "-r", ROOT / "rules", "-o", f"keep.folder={tmp_path}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout.splitlines()[0])
    assert len(answers) == 4
    assert [") matches" in each for each in answers] == [False, False, True, True]


def test_a_wrong_event_is_reported_with_its_location() -> None:
    """Errors have locations, as in a test file."""
    done = lanner("rules", "explain", RULE, "--event", '{"evt.type": "opent", "proc": "cat"}', cwd=ROOT)

    assert done.returncode == 1
    assert "did you mean 'openat'?" in done.stderr


def test_an_unknown_rule_is_reported_with_the_nearest() -> None:
    """`show` and `explain` suggest the nearest rule."""
    for command in (("explain", "--event", "{}"), ("show",)):
        done = lanner("rules", command[0], "Read sensitive file untrustd", *command[1:], cwd=ROOT)
        assert (done.returncode, RULE in done.stderr) == (1, True)


def test_hostile_events_can_not_act_on_a_terminal() -> None:
    """Values of events are escaped."""
    done = lanner(
        "rules", "explain", RULE, "--event", json.dumps({"evt.type": "openat", "fd.name": "\x1b[2J\udcff"}), cwd=ROOT
    )

    assert "\x1b" not in done.stdout
    assert "\\x1b[2J" in done.stdout


def test_show_reports_the_effective_rule(tmp_path: Path) -> None:
    """`show` applies appends and exceptions, and expands macros on request."""
    rules = tmp_path / "r.yaml"
    rules.write_text(
        """
- macro: opened
  condition: evt.type = openat
- rule: R
  desc: d
  condition: opened and fd.name = /a
  output: "%proc.name"
  priority: NOTICE
  exceptions: [{name: known, fields: [proc.name], values: [[ls]]}]
- rule: R
  condition: and not proc.name = cat
  override: {condition: append}
"""
    )

    short = lanner("rules", "show", "R", "-r", rules, "--format", "json").stdout
    whole = json.loads(lanner("rules", "show", "R", "-r", rules, "--expand", "--format", "json").stdout)

    facts = json.loads(short)
    assert facts["condition"] == "((opened and fd.name = /a and not proc.name = cat) and not proc.name = ls)"
    assert whole["condition"].startswith("((evt.type = openat and")
    assert (facts["fields"], facts["macros"]) == (["evt.type", "fd.name", "proc.name"], ["opened"])
    assert (facts["event types"], facts["exceptions"]) == (["openat"], ["known"])


def test_what_a_stateful_macro_leaves_open_is_stated(tmp_path: Path) -> None:
    """Its value for one event isn't that of its window, nor whether a value is new."""
    file = tmp_path / "rules.yaml"
    file.write_text(NEW_PROGRAM + SSH + rule("new_program", name="New") + rule("many_ssh_connections", name="Many"))
    event = '{"evt.type": "execve", "proc": "sh"}'

    new = lanner("rules", "explain", "New", "-r", str(file), "--event", event).stdout
    many = lanner("rules", "explain", "Many", "-r", str(file), "--event", event).stdout

    assert "new_program is stateful: counts means that this event counts, not that its value is new." in new
    assert "means that this event counts, not that the threshold is reached." in many


def test_an_audit_event_is_explained_from_its_json(tmp_path: Path) -> None:
    """Fields that it lacks are missing, not unknown; a rule on system calls never matches it."""
    file = tmp_path / "rules.yaml"
    file.write_text(
        "- {rule: Exec, desc: d, condition: ka.verb = get and ka.target.subresource exists, output: x, "
        "priority: ERROR, source: k8s_audit}\n" + rule("evt.type = open", name="Open")
    )
    log = tmp_path / "audit.log"
    log.write_bytes(line(request()) + line(exec_request("sh")))

    both = lanner("rules", "explain", "Exec", "-r", str(file), "--event", str(log), "--all").stdout
    other = lanner("rules", "explain", "Open", "-r", str(file), "--event", str(log), "--num", "1").stdout

    assert both.splitlines() == [
        "     1  does not match: ka.target.subresource exists is false [ka.target.subresource = <NA>]",
        "     2  matches",
    ]
    assert "does not match: its source is syscall, and the event is of k8s_audit" in other


def test_an_entry_of_cloud_logging_is_explained_as_an_audit_event(tmp_path: Path) -> None:
    """GKE writes these instead."""
    file = tmp_path / "rules.yaml"
    file.write_text(
        "- {rule: Exec, desc: d, condition: ka.target.subresource = exec and ka.response.code = 101, output: x, "
        "priority: ERROR, source: k8s_audit}\n"
    )
    shown = lanner("rules", "explain", "Exec", "-r", str(file), "--event", json.dumps(exec_entry())).stdout
    assert shown.splitlines()[0].endswith(" matches")


def test_json_of_another_source_is_explained(tmp_path: Path) -> None:
    """A mapping of fields remains one."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "- {rule: Lock, desc: d, condition: okta.evt.type = user.account.lock, "
        "output: x, priority: ERROR, source: okta}\n"
    )
    words = ("rules", "explain", "Lock", "-r", str(rules), "--event")

    document = lanner(*words, json.dumps(LOCKED)).stdout
    fields = lanner(*words, '{"okta.evt.type": "user.account.unlock"}').stdout

    assert document.splitlines()[0].endswith(" matches")
    assert "does not match" in fields
    assert "[okta.evt.type = user.account.unlock]" in fields


def test_a_draft_is_explained_on_top_of_the_active_rules(tmp_path: Path) -> None:
    """Its rules use the built-in macros, and its exceptions change the built-in rules."""
    exception = "{name: mine, fields: [proc.exepath], values: [[/usr/bin/cat]]}"
    change = f"- rule: {RULE}\n  exceptions: [{exception}]\n  override: {{exceptions: append}}\n"
    own = "- {rule: Mine, desc: d, condition: file_opened_for_reading, output: o, priority: NOTICE}\n"
    (tmp_path / "draft.yaml").write_text(change + own)
    draft = ("--draft", str(tmp_path / "draft.yaml"))

    changed = lanner("rules", "explain", RULE, "--event", STATED, *draft, cwd=ROOT).stdout
    assert "does not match: exception 'mine' applies" in changed.splitlines()[0]
    assert (
        lanner("rules", "explain", "Mine", "--event", STATED, *draft, cwd=ROOT)
        .stdout.splitlines()[0]
        .endswith("matches")
    )
