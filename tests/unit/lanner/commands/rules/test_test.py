from pathlib import Path

from click.testing import CliRunner, Result

from lanner.cli.app import lanner_command
from lanner.errors import BadInput
from tests.unit.lanner.tuning.test_harm import RULE, TESTS

OTHER = RULE.replace("/secret/", "/nowhere/")


def run(folder: Path, *words: str | Path) -> Result:
    """Run the tests of a rule file while the settings and another file name other rules."""
    (folder / "mine.yaml").write_text(RULE)
    (folder / "mine_test.yaml").write_text(TESTS)
    (folder / "other.yaml").write_text(OTHER)
    (folder / "lanner.yaml").write_text(f"rules_files: [{folder / 'other.yaml'}]\n")
    common = ("-c", folder / "lanner.yaml", "rules", "test", folder / "mine.yaml")
    return CliRunner().invoke(lanner_command, [str(word) for word in (*common, *words)], catch_exceptions=False)


def test_a_test_file_is_run_with_the_rules_that_it_names(tmp_path: Path) -> None:
    """Those of the settings don't replace them, or a draft would be tested without its own rules."""
    done = run(tmp_path)

    assert "3 passed" in done.output, done.output


def test_rules_of_the_command_line_replace_those_of_a_test_file(tmp_path: Path) -> None:
    """So the same tests can be run with another version."""
    done = run(tmp_path, "-r", tmp_path / "other.yaml")

    assert "2 failed" in done.output, done.output


EXCEPTION = """
- rule: Read private key
  exceptions:
    - name: backup
      fields: [proc.exepath, fd.name]
      values:
        - [/usr/bin/restic, /root/.ssh/id_rsa]
  override: {exceptions: append}
- rule: Mine
  desc: d
  condition: file_opened_for_reading and fd.name = /opt/mine
  output: o
  priority: NOTICE
"""
CASES = """
- name: restic reads the key
  given: {evt.type: openat, fd.name: /root/.ssh/id_rsa, flags: O_RDONLY, proc: restic}
  expect: none
  about: Read private key
- name: another program reads the key
  given: {evt.type: openat, fd.name: /root/.ssh/id_rsa, flags: O_RDONLY, proc: notrestic}
  expect: Read private key
"""


def test_an_exception_to_a_built_in_rule_is_tested_on_top_of_the_active_rules(tmp_path: Path) -> None:
    """All commands load a draft so; only the rules that it defines or changes are listed as untested."""
    (tmp_path / "exc.yaml").write_text(EXCEPTION)
    (tmp_path / "exc_test.yaml").write_text(CASES)
    words = ["rules", "test", str(tmp_path / "exc.yaml")]

    done = CliRunner().invoke(lanner_command, words, catch_exceptions=False)
    assert "2 passed" in done.output, done.output
    assert "rules without a test (1):\n  Mine\n" in done.output

    alone = CliRunner().invoke(lanner_command, [*words, "--alone"])
    assert alone.exit_code != 0
    assert isinstance(alone.exception, BadInput)
    assert "rule 'Read private key' is built in" in "".join(alone.exception.messages)


def test_a_file_of_rules_that_a_test_names_needs_no_tests(tmp_path: Path) -> None:
    """Only the rule file beside the test file does."""
    shipped = Path(__file__).parents[5] / "rules" / "lanner_rules.yaml"
    (tmp_path / "exc.yaml").write_text(EXCEPTION)
    (tmp_path / "exc_test.yaml").write_text(f"rules: [{shipped}, exc.yaml]\ncases:{CASES}")

    done = CliRunner().invoke(lanner_command, ["rules", "test", str(tmp_path / "exc.yaml")], catch_exceptions=False)
    assert "2 passed" in done.output, done.output
    assert "rules without a test (1):\n  Mine\n" in done.output
