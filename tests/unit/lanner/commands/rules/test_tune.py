import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lanner.cli.app import lanner_command
from lanner.console.store.filters import Filters
from lanner.console.store.rows import Mark
from lanner.errors import BadInput
from notifier.formats.falco import document
from schemas.alert import ALERT_SCHEMA, encode_alert
from schemas.encoding.recording import RecordingWriter
from tests.unit.alerts import alert
from tests.unit.lanner.console.alerts import NOW, filled, found
from tests.unit.lanner.tuning.test_harm import RULE, TESTS


def tune(folder: Path, *words: str | Path) -> Result:
    """Tune the rules of the tests by alerts of two programs: one reads what a test expects to be reported."""
    (folder / "mine.yaml").write_text(RULE)
    (folder / "mine_test.yaml").write_text(TESTS)
    writer = RecordingWriter(folder / "alerts.avro", ALERT_SCHEMA)
    for number in range(12):
        program, path = ("tar", "key") if number % 2 else ("backup", f"part{number}")
        fields = {"evt.type": "openat", "fd.name": f"/secret/{path}", "proc.name": program}
        fields |= {"proc.codepath": f"/usr/bin/{program}", "proc.cmdline": f"{program} /secret"}
        one = alert(id=str(number), rule="Secret read", hostname=f"h{number % 3}", output_fields=fields, event={})
        writer.write(encode_alert(one))
    writer.close()
    common = ["rules", "tune", "-r", folder / "mine.yaml", "--file", folder / "alerts.avro", "--since", "2020-01-01"]
    return CliRunner().invoke(lanner_command, [str(word) for word in (*common, *words)], catch_exceptions=False)


def test_exceptions_are_listed_with_their_proof_the_harmless_first(tmp_path: Path) -> None:
    """The harmful one names the test that it would break."""
    done = tune(tmp_path)

    assert done.exit_code == 0, done.output
    first, second = done.stdout.split("\n\n")[1:]
    assert "proc.codepath = /usr/bin/backup" in first
    assert "Harmless as far as tested: 2 attacks" in first
    assert "proc.codepath = /usr/bin/tar" in second
    assert "HARMFUL: it would hide the test 'tar reads a secret'." in second


def test_json_has_the_proof_too(tmp_path: Path) -> None:
    """For programs that open a pull request."""
    found = json.loads(tune(tmp_path, "--format", "json", "-q").stdout)

    assert [(each["alerts"], each["hosts"], each["harmless"]) for each in found] == [(6, 3, True), (6, 3, False)]


def test_only_harmless_exceptions_are_written_and_their_tests_pass(tmp_path: Path) -> None:
    """The new file is tested with the rules that it changes; nothing is overwritten."""
    patch = tmp_path / "quiet.yaml"

    assert tune(tmp_path, "--write", patch, "-q").exit_code == 0

    assert "/usr/bin/backup" in patch.read_text()
    assert "/usr/bin/tar" not in patch.read_text()
    done = CliRunner().invoke(lanner_command, ["rules", "test", str(patch)], catch_exceptions=False)
    assert (done.exit_code, "1 passed" in done.output) == (0, True), done.output
    with pytest.raises(BadInput, match="exists already"):
        tune(tmp_path, "--write", patch)
    with pytest.raises(BadInput, match="no such folder"):
        tune(tmp_path, "--write", tmp_path / "none" / "quiet.yaml")


def test_the_alerts_of_a_console_are_read_without_another_source(tmp_path: Path) -> None:
    """Those that people assigned are marked; the recording isn't looked for."""
    (tmp_path / "mine.yaml").write_text(RULE)
    fields = {"evt.type": "openat", "fd.name": "/secret/a", "proc.codepath": "/usr/bin/backup"}
    stored = [found(number, rule="Secret read", output_fields=fields, event={}) for number in range(6)]
    view, reader = filled(tmp_path, [*stored, found(7, rule="Other")])
    (group,) = (each for each in reader.groups(Filters(), NOW).groups if each.rule == "Secret read")
    view.set_marks([Mark(f"group:{group.key}", "assignee", "eve", "eve", NOW)])

    words = ("rules", "tune", "-r", tmp_path / "mine.yaml", "--since", "2020-01-01", "--format", "json", "-q")
    done = CliRunner().invoke(
        lanner_command, [*map(str, words), "--console", str(tmp_path / "alerts.db")], catch_exceptions=False
    )

    (proposal,) = json.loads(done.stdout)
    assert (proposal["alerts"], proposal["marked"], proposal["harmless"]) == (6, 6, False)


def test_a_file_of_alerts_is_read(tmp_path: Path) -> None:
    """As `file_output` writes it, whatever the time; another line is refused with its place."""
    (tmp_path / "mine.yaml").write_text(RULE)
    fields = {"evt.type": "openat", "fd.name": "/secret/a", "proc.codepath": "/usr/bin/backup"}
    stored = [found(number, rule="Secret read", output_fields=fields, event={}) for number in range(6)]
    path = tmp_path / "alerts.json"
    path.write_text("".join(f"{json.dumps(document(each))}\n" for each in stored))
    words = ["rules", "tune", "-r", str(tmp_path / "mine.yaml"), "--alerts", str(path), "--format", "json", "-q"]

    (proposal,) = json.loads(CliRunner().invoke(lanner_command, words, catch_exceptions=False).stdout)
    assert (proposal["rule"], proposal["alerts"]) == ("Secret read", 6)

    path.write_text("{}\n[1]\n")
    with pytest.raises(BadInput, match=r"alerts\.json:1: not an alert: "):
        CliRunner().invoke(lanner_command, words, catch_exceptions=False)


def test_an_unknown_rule_is_refused(tmp_path: Path) -> None:
    """It would look as if the rule were quiet."""
    with pytest.raises(BadInput, match="no such rule"):
        tune(tmp_path, "--rule", "Secret rode")
