import json
from pathlib import Path

from tests.unit.lanner.program import lanner
from tests.unit.recordings import shadow_read, write_recording

CODE = """
from lanner.detections import detect, enrich

count = 0

@detect(
    rule="Second read",
    condition="evt.type in (open, openat) and fd.name = /etc/shadow",
    output="%proc.name read %fd.name",
    priority="Warning",
    fields=["proc.name"],
)
def second(event):
    "The second."
    global count
    count += 1
    return {"reads": count} if count == 2 else 1 / (event.proc.name != "bad") == 0

@enrich(rules=["Second read"])
def length(event):
    return {"length": len(event.fd.name)}
"""
TESTS = """
cases:
- name: twice
  given: [&read {evt.type: openat, fd.name: /etc/shadow, proc: cat}, *read]
  expect: {rule: Second read, output_fields: {reads: 2, length: 11}}
- name: once
  given: {evt.type: openat, fd.name: /etc/shadow, proc: cat}
  expect: none
  about: Second read
"""
FAILING = """
- name: bad
  given: {evt.type: openat, fd.name: /etc/shadow, proc: bad}
  expect: none
  about: Second read
"""


def test_the_tests_of_a_python_file_are_beside_it(tmp_path: Path) -> None:
    """Each case begins with functions that remember nothing; one that raises fails the case with the line."""
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "mine_test.yaml").write_text(TESTS)
    passed = lanner("rules", "test", tmp_path)
    (tmp_path / "mine_test.yaml").write_text(TESTS + FAILING)
    failed = lanner("rules", "test", "--alone", tmp_path / "mine.py")

    assert "2 passed" in passed.stdout, passed.stdout + passed.stderr
    assert failed.returncode == 1
    assert "Second read: failed 1 time: ZeroDivisionError: division by zero" in failed.stdout
    assert "mine.py:17" in failed.stdout


def test_commands_know_python_rules(tmp_path: Path) -> None:
    """They list, show and replay them as rules in YAML."""
    (tmp_path / "mine.py").write_text(CODE)
    recording = write_recording(tmp_path / "shadow.avro", shadow_read(), shadow_read())
    rules = ("-r", tmp_path / "mine.py")
    listed = lanner("rules", "list", *rules)
    shown = lanner("rules", "show", "Second read", *rules)
    replayed = lanner("replay", recording, *rules, "--format", "json", "-q")
    falco = lanner("rules", "validate", "--falco", tmp_path / "mine.py")

    assert "mine.py:7" in listed.stdout
    assert "The second." in shown.stdout
    (alert,) = map(json.loads, replayed.stdout.splitlines())
    assert alert["output_fields"]["reads"] == 2
    assert "Falco has no rules in Python" in falco.stdout
