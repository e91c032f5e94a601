from dataclasses import replace
from pathlib import Path

from lanner.tuning.patch import Harm, HarmTrial, witness_cases
from lanner.tuning.proposals import FieldCondition, Proposal
from processor.loading import read_rule_files

RULE = """
- rule: Secret read
  desc: d
  condition: evt.type = openat and fd.name startswith /secret/
  output: "%fd.name"
  priority: NOTICE
"""
TESTS = """
cases:
  - name: tar reads a secret
    given: [{evt.type: openat, fd.name: /secret/key, proc: {name: tar, exepath: /usr/bin/tar}}]
    expect: Secret read
  - name: cat reads a secret
    given: [{evt.type: openat, fd.name: /secret/key, proc: {name: cat, exepath: /usr/bin/cat}}]
    expect: Secret read
  - name: tar reads something else
    given: [{evt.type: openat, fd.name: /other, proc: {name: tar, exepath: /usr/bin/tar}}]
    expect: none
    about: Secret read
"""


def harm(folder: Path, *conditions: tuple[str, str, str], rule: str = "Secret read") -> Harm:
    """Try an exception on rules with tests."""
    (folder / "mine.yaml").write_text(RULE)
    (folder / "mine_test.yaml").write_text(TESTS)
    own = tuple(FieldCondition(*each) for each in conditions)
    return HarmTrial(read_rule_files([folder / "mine.yaml"])).of(Proposal(rule, own, 5, 5, 1, 0, {}))


def test_tests_that_an_exception_hides_are_named(tmp_path: Path) -> None:
    """Those that expect the rule and that it no longer raises."""
    found = harm(tmp_path, ("proc.codepath", "=", "/usr/bin/tar"), ("fd.name", "startswith", "/secret/"))

    assert found == Harm(("tar reads a secret",), 0, 2)


def test_an_exception_that_no_test_meets_is_harmless(tmp_path: Path) -> None:
    """As far as the tests go; their number is stated."""
    found = harm(tmp_path, ("proc.codepath", "=", "/usr/bin/tar"), ("fd.name", "=", "/secret/list"))

    assert found == Harm((), 0, 2)


def test_what_an_attacker_chooses_does_not_make_an_exception_harmless(tmp_path: Path) -> None:
    """A command line that no test has proves nothing."""
    conditions = (("proc.codepath", "=", "/usr/bin/tar"), ("fd.name", "=", "/secret/key"))

    found = harm(tmp_path, *conditions, ("proc.cmdline", "=", "tar -c /secret/key"))

    assert found.tests == ("tar reads a secret",)


def test_a_user_or_a_parent_beside_a_file_does_not_make_an_exception_harmless(tmp_path: Path) -> None:
    """Whoever has a shell has such a parent; where nothing else restricts the program, it counts."""
    conditions = (("proc.codepath", "=", "/usr/bin/tar"), ("fd.name", "=", "/secret/key"))
    parent = (("proc.pcodepath", "=", "/usr/bin/bash"), ("user.name", "=", "root"))

    assert harm(tmp_path, *conditions, *parent).tests == ("tar reads a secret",)
    assert harm(tmp_path, conditions[0], *parent).tests == ()


def test_an_exception_with_which_rules_do_not_load_hides_everything(tmp_path: Path) -> None:
    """Nobody may publish it."""
    assert harm(tmp_path, ("proc.codepath", "=", "x" * 256)).tests == ("tar reads a secret", "cat reads a secret")


def test_a_case_proves_an_exception_if_it_fails_without_it(tmp_path: Path) -> None:
    """Neither does one that passes anyway, nor one that can't be read."""
    (tmp_path / "mine.yaml").write_text(RULE)
    conditions = (FieldCondition("proc.codepath", "=", "/usr/bin/tar"), FieldCondition("fd.name", "=", "/secret/a"))
    fields = {"evt.type": "openat", "proc.name": "tar", "proc.codepath": "/usr/bin/tar", "fd.name": "/secret/a"}
    quiet = Proposal("Secret read", conditions, 5, 5, 1, 0, fields)
    trial = HarmTrial(read_rule_files([tmp_path / "mine.yaml"]))

    assert trial.is_proof(quiet, next(witness_cases(quiet)))
    assert not trial.is_proof(quiet, next(witness_cases(replace(quiet, witness={**fields, "fd.name": "/other"}))))
    assert not trial.is_proof(quiet, next(witness_cases(replace(quiet, witness={**fields, "evt.type": "nonsense"}))))


def test_recorded_attacks_that_an_exception_hides_are_counted() -> None:
    """The recording beside the built-in rules has one action for each of them."""
    rules = Path(__file__).parents[4] / "rules"
    conditions = (FieldCondition("proc.codepath", "=", "/usr/bin/cat"), FieldCondition("fd.name", "=", "/etc/shadow"))
    proposal = Proposal("Read sensitive file untrusted", conditions, 5, 5, 1, 0, {})

    found = HarmTrial(read_rule_files([rules])).of(proposal)

    assert found.actions >= 1
    assert found.tests
    assert found.tested > len(found.tests) + found.actions


def test_an_exception_without_tests_is_tried_on_nothing(tmp_path: Path) -> None:
    """That is reported, because it proves nothing."""
    (tmp_path / "mine.yaml").write_text(RULE)
    conditions = (FieldCondition("proc.codepath", "=", "/usr/bin/tar"), FieldCondition("fd.name", "=", "/secret/key"))

    found = HarmTrial(read_rule_files([tmp_path / "mine.yaml"])).of(Proposal("Secret read", conditions, 5, 5, 1, 0, {}))

    assert found == Harm((), 0, 0)


def test_a_trial_is_current_until_rules_tests_or_recordings_change(tmp_path: Path) -> None:
    """A new one is needed then."""
    (tmp_path / "mine.yaml").write_text(RULE)
    (tmp_path / "mine_test.yaml").write_text(TESTS + "  - {name: x, recording: far.avro, expect: none}\n")
    files = read_rule_files([tmp_path / "mine.yaml"])
    for changed in ("far.avro", "acts.avro", "mine_test.yaml"):
        trial = HarmTrial(files)
        assert trial.is_current(files)
        (tmp_path / changed).write_text("another")
        assert not trial.is_current(files)
    assert not HarmTrial(files).is_current([replace(files[0], text="")])
