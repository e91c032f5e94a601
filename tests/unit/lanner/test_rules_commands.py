import json
from pathlib import Path

from tests.unit.lanner.program import lanner
from tests.unit.recordings import write_recording

GOOD = """
- rule: One
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow
  output: read (%fd.name)
  priority: WARNING
  tags: [b, a]
- rule: Two
  desc: d
  condition: evt.type = execve
  output: ran
  priority: NOTICE
  enabled: false
"""


def rules(folder: Path, text: str = GOOD, name: str = "mine.yaml") -> Path:
    """Write a rule file."""
    path = folder / name
    path.write_text(text)
    return path


def test_the_rules_that_ship_are_right() -> None:
    """The built-in rules have no errors or warnings."""
    done = lanner("rules", "validate", "--strict")
    assert done.returncode == 0, done.stdout


def test_errors_have_locations_and_exit_with_1(tmp_path: Path) -> None:
    """Errors are on standard output in text, JSON and GitHub's format, since they are the result."""
    bad = rules(tmp_path, GOOD.replace("fd.name =", "fd.nam ="))

    text = lanner("rules", "validate", bad)
    assert (text.returncode, text.stderr) == (1, "")
    assert f"{bad}:4:" in text.stdout
    assert "^" in text.stdout

    reported = json.loads(lanner("rules", "validate", bad, "--format", "json").stdout)
    assert reported["ok"] is False
    assert reported["errors"][0]["line"] == 4

    assert lanner("rules", "validate", bad, "--format", "github").stdout.startswith("::error file=")


def test_warnings_count_only_when_strict(tmp_path: Path) -> None:
    """A misspelled key is a warning."""
    odd = rules(tmp_path, GOOD.replace("priority: NOTICE", "priority: NOTICE\n  prioritty: NOTICE"))
    assert lanner("rules", "validate", odd).returncode == 0
    assert lanner("rules", "validate", odd, "--strict").returncode == 1


def test_a_rule_file_that_is_not_there_is_named() -> None:
    """A missing rule file is bad input, in one line."""
    done = lanner("rules", "list", "-r", "/nonexistent.yaml")
    assert done.returncode == 1
    assert done.stderr == "error: /nonexistent.yaml: no such rule file or folder.\n"


def test_list_filters_as_requested(tmp_path: Path) -> None:
    """By tag, priority and enabled state; settings enable and disable rules as for `run`."""
    path = rules(tmp_path)

    def names(*flags: str) -> list[str]:
        done = lanner("rules", "list", "-r", path, "--format", "json", *flags)
        return [rule["name"] for rule in json.loads(done.stdout)]

    assert names() == ["One", "Two"]
    assert names("--tag", "a") == ["One"]
    assert names("--priority", "warning") == ["One"]
    assert names("--disabled") == ["Two"]
    assert names("--enabled", "-o", "rules[].enable.rule=T*") == ["One", "Two"]


def test_show_gives_the_rule_after_what_was_appended(tmp_path: Path) -> None:
    """A rule is shown with its appends; an unknown name suggests the nearest rule."""
    path = rules(tmp_path, GOOD + "- rule: One\n  condition: and proc.name != cat\n  append: true\n")
    done = lanner("rules", "show", "one", "-r", path)
    assert "fd.name = /etc/shadow and proc.name != cat" in done.stdout

    wrong = lanner("rules", "show", "Onee", "-r", path)
    assert wrong.returncode == 1
    assert "Did you mean 'One'?" in wrong.stderr


def test_a_redefinition_in_another_file_is_noticed(tmp_path: Path) -> None:
    """The notice names both locations; appending is not a redefinition."""
    first = rules(tmp_path)
    second = rules(tmp_path, GOOD.replace("Two", "Other"), "theirs.yaml")
    third = rules(tmp_path, "- rule: One\n  condition: and proc.name = x\n  append: true\n", "append.yaml")
    recording = write_recording(tmp_path / "empty.avro")

    done = lanner("replay", recording, "-r", first, "-r", second, "-r", third)

    assert done.returncode == 0, done.stderr
    assert f"{second}:2: rule 'One' redefines that of {first}:2" in done.stderr
    assert str(third) not in "".join(line for line in done.stderr.splitlines() if "redefines" in line)


def test_what_is_no_recording_is_reported_in_one_line(tmp_path: Path) -> None:
    """For a truncated recording, events before the damage are evaluated."""
    done = lanner("replay", rules(tmp_path))
    assert done.returncode == 1
    assert "is not a complete recording" in done.stderr
    assert "Traceback" not in done.stderr
