import json
from pathlib import Path

from tests.unit.lanner.program import lanner

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


def test_an_event_of_a_recording_is_found_by_its_number() -> None:
    """An event is found by the evt.num of its alert."""
    recording = ROOT / "rules" / "acts.avro"
    done = lanner("rules", "explain", RULE, "--event", recording, cwd=ROOT)
    assert done.returncode == 1
    assert "choose one by --num" in done.stderr

    assert "evt.num" in lanner("rules", "explain", RULE, "--event", recording, "--num", "999999999", cwd=ROOT).stderr
    assert lanner("rules", "explain", RULE, "--event", recording, "--num", "1", cwd=ROOT).returncode == 0


def test_an_alert_and_a_mapping_are_explained_by_what_they_contain(tmp_path: Path) -> None:
    """Fields that the input lacks are missing."""
    alert = tmp_path / "alerts.json"
    alert.write_text(
        json.dumps({"rule": RULE, "output_fields": {"evt.type": "openat", "fd.name": "/etc/passwd"}}) + "\n"
    )

    reported = lanner("rules", "explain", RULE, "--event", alert, cwd=ROOT).stdout
    assert "does not match" in reported
    assert "missing" in reported

    other = lanner("rules", "explain", RULE, "--event", '{"evt.type": "close"}', cwd=ROOT).stdout
    assert other.splitlines()[0].endswith("does not match; it isn't evaluated for events of type close")


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
