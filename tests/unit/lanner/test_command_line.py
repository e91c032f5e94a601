import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lanner.cli.tables import COMMANDS, CONFIG, EVENTS, RULES, TASKS
from tests.unit.lanner.program import lanner

EVERY_COMMAND = [
    *([name] for name in COMMANDS),
    *(["rules", name] for name in RULES),
    *(["events", name] for name in EVENTS),
    *(["config", name] for name in CONFIG),
]


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_every_command_shows_an_example_in_its_help(command: list[str]) -> None:
    """Every help ends with an example that can be typed."""
    done = lanner(*command, "--help")
    assert done.returncode == 0
    assert "Example:\n  " in done.stdout
    assert "lanner" in done.stdout.split("Example:")[1]


@pytest.mark.parametrize(
    ("flag", "ours"),
    [("-L", "lanner rules list"), ("-l", "lanner rules show"), ("--list", "lanner fields"), ("-V", "rules validate")],
)
def test_a_flag_of_falcos_is_a_usage_error_that_names_ours(flag: str, ours: str) -> None:
    """The error names Lanner's equivalent of Falco's flag."""
    for arguments in ([flag], ["run", flag]):
        done = lanner(*arguments)
        assert done.returncode == 2
        assert ours in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        ("rules validates", "lanner rules validate"),
        ("validate", "lanner rules validate"),
        ("config checks", "lanner config check"),
        ("alert list", "lanner alerts"),
        ("version", "lanner --version"),
    ],
)
def test_an_unknown_command_is_reported_with_the_nearest(words: str, nearest: str) -> None:
    """Also if people look for it in another group."""
    done = lanner(*words.split())
    assert done.returncode == 2
    assert f"Did you mean '{nearest}'?" in done.stderr
    assert "Did you mean" not in lanner("nonsense").stderr


def test_version_is_one_line() -> None:
    """The version is one line, for scripts and bug reports."""
    assert lanner("--version").stdout == "lanner 0.1.0\n"


def test_bad_usage_and_bad_settings_end_differently(tmp_path: Path) -> None:
    """Usage errors exit with 2, bad input with 1."""
    assert lanner("nonsense").returncode == 2
    assert lanner("config", "show", "-o", "priority").returncode == 2
    done = lanner("config", "check", "-o", "priorty=debug")
    assert done.returncode == 1
    assert done.stderr == "error: -o priorty=debug: there is no setting 'priorty'.\n      = did you mean priority?\n"
    missing = tmp_path / "none.yaml"
    named, positional = lanner("config", "check", "-c", missing), lanner("config", "check", missing)
    assert (named.returncode, named.stderr) == (positional.returncode, positional.stderr)
    assert named.returncode == 1


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="drops root's rights, so it has to have them")
def test_a_folder_that_may_not_be_searched_is_reported_by_name(tmp_path: Path) -> None:
    """The error names the folder, for the local, a given and the system's settings file."""
    (tmp_path / "lanner.yaml").write_text("priority: debug\n")
    tmp_path.chmod(0o700)
    settings, other = tmp_path / "lanner.yaml", tmp_path / "other"

    def reported(*arguments: str | Path) -> tuple[int, str]:
        program = (
            "import os, sys, lanner.__main__, lanner.cli.app\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "sys.exit(lanner.cli.app.run_command_line())"
        )
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LANNER")}
        path = {"PYTHONPATH": str(Path(__file__).parents[3])}
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean | path, cwd=tmp_path)
        return done.returncode, done.stderr

    may_search = f"Run this as a user who may search {tmp_path}, or pass a settings file by --config."
    assert reported("config", "show") == (
        1,
        f"error: {settings}: can't check whether it exists: Permission denied. {may_search}\n",
    )
    assert reported("config", "show", "-c", settings) == (1, f"error: {settings}: can't be read: Permission denied.\n")
    none = ("-c", "/dev/null")
    assert reported("rules", "list", "-r", other, *none) == (1, f"error: {other}: can't be read: Permission denied.\n")
    denied = (1, f"error: {other}: Permission denied. Run this as a user with permission, or choose another path.\n")
    assert reported("replay", other, "-q", *none) == denied
    assert reported("rules", "test", other, *none) == denied


def test_shared_flags_may_stand_before_or_after_the_command() -> None:
    """`lanner -o ... config show` and `lanner config show -o ...` are equivalent."""
    before = lanner("-o", "priority=error", "config", "show")
    after = lanner("config", "show", "-o", "priority=error")
    assert "priority: error" in before.stdout
    assert before.stdout == after.stdout


def test_the_settings_file_beside_us_is_found(tmp_path: Path) -> None:
    """./lanner.yaml is used, and $LANNER_CONFIG overrides it."""
    (tmp_path / "lanner.yaml").write_text("priority: error\n")
    (tmp_path / "other.yaml").write_text("priority: alert\n")
    assert "priority: error" in lanner("config", "show", cwd=tmp_path).stdout
    named = {"LANNER_CONFIG": str(tmp_path / "other.yaml")}
    assert "priority: alert" in lanner("config", "show", cwd=tmp_path, environment=named).stdout


def test_fields_as_json_are_what_programs_read() -> None:
    """Each field has its name, type and argument rule."""
    fields = {field["name"]: field for field in json.loads(lanner("fields", "--format", "json").stdout)}
    assert len(fields) >= 232
    assert fields["proc.name"]["type"] == "CHARBUF"
    assert fields["proc.env"]["argument"] in ("optional", "required")
    assert fields["proc.name"]["filled_live"] is True


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """`lanner fields | head -1` exits with 0 and prints no error."""
    running = subprocess.Popen(
        [sys.executable, "-m", "lanner", "fields"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout
    assert running.stderr
    running.stdout.close()
    assert running.stderr.read() == b""
    running.stderr.close()
    assert running.wait(30) == 0


def test_no_colour_when_piped_and_nothing_behind_the_last_column() -> None:
    """Piped output has no color and no trailing blanks."""
    done = lanner("fields", "proc.")
    assert "\x1b" not in done.stdout
    assert all(line == line.rstrip() for line in done.stdout.splitlines())


def test_doctor_prints_json_and_its_exit_code_shows_whether_this_host_can() -> None:
    """It exits with 0 and ok, or with 3 and at least one missing check."""
    done = lanner("doctor", "--format", "json")
    reported = json.loads(done.stdout)
    assert done.returncode == (0 if reported["ok"] else 3)
    assert reported["ok"] == all(check["state"] != "missing" for check in reported["checks"])
    assert all(check["remedy"] for check in reported["checks"] if check["state"] != "ok")


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="drops root's rights, so it has to have them")
def test_doctor_without_rights_reports_it() -> None:
    """An ordinary user learns which command to use."""
    code = "import os; os.setgid(65534); os.setuid(65534); from lanner.operations.doctor import rights; print(rights())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "state='missing'" in done.stdout
    assert "sudo lanner run" in done.stdout


def test_help_lists_every_command_once_by_task() -> None:
    """What people want to do comes before the options that all commands share."""
    assert sorted(name for names in TASKS.values() for name in names) == sorted(COMMANDS)

    text = lanner("--help").stdout
    titles = [line.rstrip(":") for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == [*TASKS, "Common options", "Example"]


@pytest.mark.parametrize(
    ("words", "own", "left_out"),
    [
        (("hosts",), "--check", "--rules"),
        (("topics", "create"), "--partitions", "--rules"),
        (("dlq", "list"), "--sink", "--rules"),
        (("rules", "list"), "--tag", None),
        (("run",), "--keep", None),
        (("completion",), None, "--config"),
        (("hosts", "enroll"), "--pinned", "--format"),
    ],
)
def test_a_commands_own_options_come_first_and_those_without_meaning_are_left_out(
    words: tuple[str, ...], own: str | None, left_out: str | None
) -> None:
    """Common options have a section of their own."""
    before, _, common = lanner(*words, "--help").stdout.partition("\nCommon options:\n")

    assert own is None or own in before
    assert "--quiet" in common
    assert left_out is None or left_out not in before + common
    if left_out:
        assert lanner(*words, left_out, "x").returncode == 2


def test_help_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line but examples is longer than the terminal."""
    monkeypatch.setenv("COLUMNS", "50")
    text = lanner("--help").stdout.partition("\nExample:")[0]

    assert max(map(len, text.splitlines())) <= 50


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell: str) -> None:
    """The script is the shell's own, and calls back for the words."""
    done = lanner("completion", shell)

    assert done.returncode == 0
    assert "_LANNER_COMPLETE" in done.stdout


def test_completion_offers_commands_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words typed so far select them."""
    monkeypatch.setenv("_LANNER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "lanner rules v")
    monkeypatch.setenv("COMP_CWORD", "2")

    assert lanner().stdout.split() == ["plain,validate"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("fields", "nosuch"), "no field begins with 'nosuch'."),
        (("fields", "proc.nme"), "no field begins with 'proc.nme'; did you mean 'proc.name'?"),
        (("rules", "list", "--tag", "contaner"), "no rule has the tag 'contaner'; did you mean 'container'?"),
    ],
)
def test_an_unknown_field_or_tag_is_an_error_with_the_nearest_name(words: tuple[str, ...], hint: str) -> None:
    """An empty table would look like an answer."""
    done = lanner(*words)

    assert (done.returncode, done.stdout) == (1, "")
    assert hint in done.stderr
