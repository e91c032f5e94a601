from pathlib import Path

from click.testing import CliRunner, Result

from lanner.cli.app import lanner_command
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
