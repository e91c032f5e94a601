import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.ruletest.reading import find_tests, read_events, read_suite
from lanner.ruletest.report import counts, failures, gaps, junit_xml, progress
from lanner.ruletest.running import CaseResult, RuleCoverage, RuleSet, Runner, coverage, unknown_names
from lanner.ruletest.world import make_batch
from processor.loading import RuleFile, load_rules
from processor.rule import RuleMatching
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter, read_recording
from tests.unit.processor.detection.requests import exec_request, line, request

RULES = """
- rule: Reads shadow
  desc: d
  condition: evt.type = openat and evt.is_open_read = true and fd.name = /etc/shadow
  output: "read by %proc.name"
  priority: WARNING
- rule: Opens anything
  desc: d
  condition: evt.type = openat and fd.name startswith /etc/
  output: o
  priority: NOTICE
- rule: Off
  desc: d
  condition: evt.type = close
  output: o
  priority: NOTICE
  enabled: false
- macro: many_closes
  condition: evt.type = close and proc.name = looper
  correlation: {type: event_count, group-by: [proc.pid], timespan: 10s, condition: {gte: 3}}
- rule: Loops
  desc: d
  condition: many_closes
  output: "%correlation.count"
  priority: ERROR
"""
READ = "{evt.type: openat, fd.name: /etc/shadow, flags: O_RDONLY, proc: cat}"
CLOSE = "{at: %s, evt.type: close, proc: looper}"


def rule_set(text: str = RULES) -> RuleSet:
    """Load rules without errors."""
    result = load_rules([RuleFile("rules.yaml", text)])
    assert result.errors == ()
    return RuleSet(result.rules, result.macros)


def outcome(given: str, expect: str, more: str = "", matching: RuleMatching = "first") -> CaseResult:
    """Run one case."""
    suite, problems = read_suite("a_test.yaml", f"- name: a case\n  given: [{given}]\n  expect: {expect}\n{more}")
    assert problems == ()
    [case] = suite.cases
    return Runner(suite, rule_set(), matching, lambda path: read_recording(Path(path))).run(case)


def reported(found: CaseResult) -> list[str]:
    """Return the differences."""
    return [failure.message for failure in found.failures]


def test_what_is_expected_and_comes_passes() -> None:
    """With priority and output fields; fields that only the event has count as well."""
    expect = "[{rule: Reads shadow, priority: WARNING, output_fields: {proc.name: cat, fd.typechar: f}}]"

    assert reported(outcome(READ, expect)) == []


def test_what_is_expected_and_does_not_come_is_explained() -> None:
    """With the tree of the rule for the nearest event."""
    found = outcome(READ.replace("O_RDONLY", "O_WRONLY"), "[Opens anything, Reads shadow]")

    [message] = reported(found)
    assert message.startswith(
        "expected, but not raised: Reads shadow (raised: Opens anything; with rule_matching 'first'"
    )
    assert "false      evt.is_open_read = true   [evt.is_open_read = false]" in found.failures[0].trees[0]


def test_what_comes_unexpected_is_explained() -> None:
    """No unexpected alert may be raised."""
    found = outcome(READ, "none")

    [message] = reported(found)
    assert message.startswith("not expected: Warning Reads shadow: read by cat container_id=host ")
    assert found.failures[0].trees[0].startswith("true     and\n")


def test_a_wrong_priority_and_a_wrong_field_are_reported() -> None:
    """Each with its actual value."""
    expect = "[{rule: Reads shadow, priority: ERROR, output_fields: {proc.name: dog, k8s.pod.name: x}}]"

    assert reported(outcome(READ, expect)) == [
        "Reads shadow: priority is Warning, not Error; proc.name is cat, not dog; k8s.pod.name is <NA>, not x"
    ]


def test_an_event_of_no_type_that_the_rule_requires_is_reported() -> None:
    """Then there is nothing to explain."""
    assert reported(outcome("{evt.type: read, proc: x}", "Reads shadow")) == [
        "expected, but not raised: Reads shadow; none of the events has a type that it selects (openat)"
    ]


def test_all_rules_match_if_requested() -> None:
    """In the settings or in the file."""
    assert reported(outcome(READ, "[Reads shadow, Opens anything]", matching="all")) == []


def test_a_rule_that_is_off_is_evaluated_where_a_case_names_it() -> None:
    """Disabled rules must be testable."""
    assert reported(outcome("{evt.type: close, proc: x}", "Off")) == []
    assert reported(outcome("{evt.type: close, proc: x}", "none")) == []


@pytest.mark.parametrize(
    ("last", "expect"), [("9s", "[{rule: Loops, output_fields: {correlation.count: '3'}}]"), ("11s", "none")]
)
def test_windows_go_by_the_times_of_events(last: str, expect: str) -> None:
    """Tests don't wait."""
    given = ", ".join(CLOSE % at for at in ("0s", "1s", last))

    assert reported(outcome(given, expect, "  about: Loops\n")) == []


def test_cases_do_not_remember_each_other() -> None:
    """Each starts with empty windows."""
    text = "".join(f"- {{name: c{n}, given: [{CLOSE % '0s'}], expect: none, about: Loops}}\n" for n in range(5))
    suite, _ = read_suite("a_test.yaml", text)
    runner = Runner(suite, rule_set(), "first", lambda _path: ())

    assert [runner.run(case).passed for case in suite.cases] == [True] * 5


def test_a_recording_is_evaluated_like_stated_events(tmp_path: Path) -> None:
    """By name, relative to the test file's folder."""
    events, _ = read_events("e", READ)
    writer = RecordingWriter(tmp_path / "a.avro")
    writer.write(encode_batch(make_batch(events)))
    writer.close()
    suite, _ = read_suite(f"{tmp_path}/a_test.yaml", "- {name: r, recording: a.avro, expect: Reads shadow}")

    def read(path: str) -> list[EventBatch]:
        return list(read_recording(Path(path)))

    assert Runner(suite, rule_set(), "first", read).run(suite.cases[0]).passed


def test_names_of_hosts_are_what_the_case_states() -> None:
    """No name server is used."""
    text = (
        RULES
        + """
- rule: Talks to the pool
  desc: d
  condition: evt.type = connect and fd.sip.name = pool.example
  output: o
  priority: NOTICE
"""
    )
    given = "- {name: a, given: {evt.type: connect, to: '203.0.113.9:1', proc: x}, names: {pool.example: 203.0.113.9}"
    suite, _ = read_suite("a_test.yaml", given + ", expect: Talks to the pool}\n")

    assert Runner(suite, rule_set(text), "first", lambda _path: ()).run(suite.cases[0]).passed


def test_rules_that_nobody_defines_are_problems() -> None:
    """With the nearest name."""
    suite, _ = read_suite("a_test.yaml", f"- {{name: a, given: {READ}, expect: Reads shadw, about: Opens}}\n")

    found = unknown_names(suite, rule_set().rules)

    assert [(each.message, each.hint) for each in found] == [
        ("unknown rule 'Reads shadw'", "did you mean 'Reads shadow'?"),
        ("unknown rule 'Opens'", ""),
    ]


def test_rules_without_a_test_are_reported() -> None:
    """Rules that cases only ever expect, or never expect, are listed too."""
    text = (
        f"- {{name: a, given: {READ}, expect: Reads shadow}}\n- {{name: b, given: {READ}, expect: none, about: Off}}\n"
    )
    suite, _ = read_suite("a_test.yaml", text)

    lacking = coverage([suite], {"rules.yaml": rule_set().rules})

    assert lacking == RuleCoverage(("Opens anything", "Loops"), ("Reads shadow",), ("Off",))
    assert gaps(lacking, colour=False).startswith("rules without a test (2):\n  Opens anything\n  Loops\n")


def test_results_look_as_pytest_shows_its_own() -> None:
    """One character per case, failures in full, one line of counts; values of events are escaped."""
    good = outcome(READ, "Reads shadow")
    bad = outcome(READ.replace("proc: cat", 'proc: "c\\e[2Jt"'), "none")

    suites = [("a_test.yaml", [good, bad])]

    assert progress("a_test.yaml", [good, bad], verbose=False, colour=False) == "a_test.yaml .F\n"
    assert "a case FAILED" in progress("a_test.yaml", [bad], verbose=True, colour=False)
    shown = failures(suites, colour=False)
    assert shown.startswith("\n____")
    assert "a_test.yaml:1:9: not expected: Warning Reads shadow: read by c\\x1b[2Jt" in shown
    assert "\x1b" not in shown
    assert " 1 failed, 1 passed in " in counts(suites, colour=False)


def test_junit_is_xml_whatever_an_event_holds() -> None:
    """With counts, locations and messages."""
    bad = outcome(READ.replace("proc: cat", 'proc: "c\\e\\xff<&\\""'), "none")

    root = ET.fromstring(junit_xml([("a_test.yaml", [bad])]))  # noqa: S314  our own text

    [suite] = root
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    [case] = suite
    assert (case.get("name"), case.get("line")) == ("a case", "1")
    assert "not expected" in (case[0].get("message") or "")


def test_tests_are_found_beside_rules(tmp_path: Path) -> None:
    """By the rule file, the test file or the folder; rule files without tests are reported."""
    (tmp_path / "a.yaml").write_text(RULES)
    (tmp_path / "a_test.yaml").write_text(f"- {{name: a, given: {READ}, expect: Reads shadow}}\n")
    (tmp_path / "b.yaml").write_text(RULES)

    for path in (tmp_path / "a.yaml", tmp_path / "a_test.yaml", tmp_path):
        found = find_tests([str(path)], ())
        assert [tested.suite.file for tested in found.tested] == [str(tmp_path / "a_test.yaml")]
        assert found.problems == ()
    assert [file for file, _ in found.untested] == [str(tmp_path / "b.yaml")]


def test_errors_in_rules_and_in_tests_come_together(tmp_path: Path) -> None:
    """All errors are reported together."""
    (tmp_path / "a.yaml").write_text(RULES.replace("fd.name =", "fd.nam ="))
    (tmp_path / "a_test.yaml").write_text("- {name: a, given: {evt.type: opent, proc: x}, expect: none}\n")

    found = find_tests([str(tmp_path)], ())

    assert [problem.line for problem in found.problems] == [1, 4]


def test_a_path_that_is_not_there_is_bad_input() -> None:
    """The error names it."""
    with pytest.raises(BadInput, match=r"/nonexistent_test\.yaml: no such file"):
        find_tests(["/nonexistent_test.yaml"], ())


AUDIT_RULES = """
- {rule: Exec, desc: d, condition: ka.target.subresource = exec, output: x %ka.verb, priority: ERROR, source: k8s_audit}
- {rule: Denied, desc: d, condition: ka.response.code = 403, output: x, priority: ERROR, source: k8s_audit}
"""


def test_an_audit_log_is_evaluated_as_a_recording(tmp_path: Path) -> None:
    """What differs is explained; a line that can't be read fails the case."""
    log = tmp_path / "audit.log"
    log.write_bytes(line(request()) + line(exec_request("sh")))
    cases = (
        "- {name: good, recording: audit.log, expect: [{rule: Exec, output_fields: {ka.verb: get}}]}\n"
        "- {name: bad, recording: audit.log, expect: Denied}\n"
    )
    suite, _ = read_suite(f"{tmp_path}/a_test.yaml", cases)
    runner = Runner(suite, rule_set(AUDIT_RULES), "first", lambda path: read_recording(Path(path)))

    good, bad = map(runner.run, suite.cases)

    assert good.passed
    missing, surplus = (failure.message for failure in bad.failures)
    assert missing.startswith("expected, but not raised: Denied (raised: Exec;")
    assert surplus == "not expected: Error Exec: x get"
    assert bad.failures[0].trees[1] == "event 1:\nfalse    ka.response.code = 403   [ka.response.code = 101]\n"
    log.write_bytes(b"{]\n")
    unreadable = runner.run(suite.cases[0]).failures[-1].message
    assert unreadable.startswith(f"{log}: line 1: not JSON")


MIXED_RULES = """
- macro: exec_requested
  condition: ka.target.subresource = exec and ka.response.code = 101
- macro: shell_started
  condition: evt.type = execve and proc.name = sh
- macro: requested_shell
  correlation:
    type: temporal
    macros: [exec_requested, shell_started]
    group-by: [pod]
    aliases: {pod: {exec_requested: ka.target.name, shell_started: k8s.pod.name}}
    timespan: 10s
- rule: Requested shell
  desc: d
  condition: requested_shell
  output: "%correlation.leg[exec_requested].ka.user.name runs %proc.name"
  priority: NOTICE
"""
MIXED_CASES = """
shared:
  exec: &exec
    objectRef: {resource: pods, subresource: exec, name: web}
    user: {username: eve}
    responseStatus: {code: 101}
  shell: &shell
    evt.type: execve
    proc: sh
    container: {id: 3ad7b26ded6d, pod: {name: web, namespace: prod}}
cases:
  - name: the shell comes soon
    given: [{source: k8s_audit, json: *exec}, {at: 2s, <<: *shell}]
    expect: [{rule: Requested shell, output_fields: {"correlation.leg[exec_requested].ka.user.name": eve}}]
  - name: the shell comes late
    given: [{source: k8s_audit, json: *exec}, {at: 12s, <<: *shell}]
    expect: none
    about: Requested shell
"""


def test_a_case_may_have_events_of_several_sources() -> None:
    """They are evaluated by time, as they would arrive."""
    suite, problems = read_suite("a_test.yaml", MIXED_CASES)
    assert problems == ()
    runner = Runner(suite, rule_set(MIXED_RULES), "first", lambda _path: ())

    assert [runner.run(case).failures for case in suite.cases] == [(), ()]
