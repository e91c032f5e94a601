import json
from pathlib import Path

from lanner.ruleset.active import on_top
from lanner.ruleset.load import validate_files
from processor.loading import RuleFile
from tests.unit.lanner.program import lanner

ROOT = Path(__file__).parents[4]
OWN = """
- rule: My shell rule
  desc: Uses built-in macros.
  condition: program_started and in_container and proc.name in (shell_names)
  output: shell (user=%user.name)
  priority: NOTICE
"""
RULE = "- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n"


def test_files_are_checked_on_top_of_the_active_rules(tmp_path: Path) -> None:
    """Built-in macros are known; alone, a hint names the file that has them."""
    own = tmp_path / "own.yaml"
    own.write_text(OWN)

    on_top = lanner("rules", "validate", own, cwd=ROOT)
    assert (on_top.returncode, on_top.stdout) == (0, "1 rule in 1 file: no problems\n")
    alone = lanner("rules", "validate", "--alone", own, cwd=ROOT)
    assert alone.returncode == 1
    assert "Undefined macro 'program_started'" in alone.stdout
    assert "= macro 'program_started' is built in (" in alone.stdout
    own.write_text(OWN.replace("program_started", "spawned_process"))
    assert "the built-in rules have 'program_started' for it" in lanner("rules", "validate", own, cwd=ROOT).stdout


def test_rules_that_are_passed_replace_the_built_in_ones(tmp_path: Path) -> None:
    """Files are on top of them; a file among them is loaded once."""
    base, own = tmp_path / "base.yaml", tmp_path / "own.yaml"
    base.write_text("- macro: my_macro\n  condition: evt.type = openat\n" + RULE.format(name="b", condition="my_macro"))
    own.write_text(RULE.format(name="o", condition="my_macro and fd.name = /x"))

    assert (
        lanner("rules", "validate", "-r", base, own, "-o", "rule_matching=all").stdout
        == "1 rule in 1 file: no problems\n"
    )
    assert "'b' (" in lanner("rules", "validate", "-r", base, own).stdout
    assert "Undefined macro" in lanner("rules", "validate", own, cwd=ROOT).stdout
    assert lanner("rules", "validate", "-r", tmp_path, base, "--format", "github").stdout.count("LINT_REDEFINED") == 0


def test_problems_of_other_files_are_left_out_unless_they_are_errors() -> None:
    """Warnings and lints are about the checked files."""
    below = RuleFile("below.yaml", RULE.format(name="b", condition="evt.type = open and proc.name = aaaaaaaaaaaaaaaa"))
    own = RuleFile("own.yaml", "- list: l\n  items: []\n")
    result = validate_files([below], [own])
    assert [problem.code.name for problem in (*result.errors, *result.warnings)] == ["LOAD_UNUSED_LIST"]
    broken = RuleFile("below.yaml", RULE.format(name="b", condition="a.b"))
    assert [problem.file for problem in validate_files([broken], [own]).errors] == ["below.yaml"]


def test_lints_have_severities_in_every_format(tmp_path: Path) -> None:
    """Errors fail, and a stage that loads the rules reports them as warnings."""
    file = tmp_path / "r.yaml"
    file.write_text(RULE.format(name="a", condition="evt.type = open and evt.type = execve") * 2)
    done = lanner("rules", "validate", "--alone", file, "--format", "json")
    assert done.returncode == 1
    assert {(each["code"], each["severity"]) for each in json.loads(done.stdout)["errors"]} == {
        ("LINT_CONTRADICTION", "error"),
        ("LINT_DUPLICATE_NAME", "error"),
    }
    assert "::error file=" in lanner("rules", "validate", "--alone", file, "--format", "github").stdout
    second = tmp_path / "s.yaml"
    second.write_text(RULE.format(name="a", condition="evt.type = open"))
    notice = lanner("rules", "validate", "-r", file, second, "--format", "github").stdout
    assert f"::notice file={second}" in notice


def test_a_file_among_those_below_stays_at_its_place() -> None:
    """Files after it may use its items; a new file follows."""
    first = RuleFile("first.yaml", "- macro: opened\n  condition: evt.type = openat\n")
    later = RuleFile("later.yaml", "- macro: read\n  condition: opened and evt.is_open_read = true\n")
    new = RuleFile("new.yaml", "- list: l\n  items: []\n")

    assert on_top([first, later], [new, first]) == (first, later, new)
    assert validate_files([first, later], [first]).errors == ()
