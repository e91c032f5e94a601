"""The setting append_output, from a recording to alert lines."""

import json
from pathlib import Path

from tests.unit.lanner.program import lanner
from tests.unit.lanner.test_rules_commands import rules
from tests.unit.recordings import shadow_read, write_recording


def alerts(tmp_path: Path, *flags: str) -> list[dict[str, object]]:
    """Replay one event of `cat /etc/shadow` with flags."""
    recording = write_recording(tmp_path / "shadow.avro", shadow_read())
    done = lanner("replay", recording, "-r", rules(tmp_path), "--format", "json", *flags)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_text_and_fields_are_added_to_the_alerts_that_match(tmp_path: Path) -> None:
    """A field retains its type; a name with a format becomes formatted text."""
    added = "{match: {tags: [a]}, extra_output: 'by %proc.name', extra_fields: [proc.pid, {who: '%user.name!'}]}"
    (alert,) = alerts(tmp_path, "-o", f"append_output[]={added}")
    fields = alert["output_fields"]
    assert isinstance(fields, dict)
    assert "read (/etc/shadow) by cat" in str(alert["output"])
    assert isinstance(fields["proc.pid"], int)
    assert fields["who"] == "root!"
    assert fields["fd.name"] == "/etc/shadow"


def test_alerts_that_do_not_match_stay_as_they_are(tmp_path: Path) -> None:
    """All conditions of `match` must hold."""
    for match in ("{rule: Two}", "{tags: [a, z]}", "{source: other}"):
        (alert,) = alerts(
            tmp_path, "-o", f"append_output[]={{match: {match}, extra_output: added, extra_fields: [proc.vpid]}}"
        )
        assert "added" not in str(alert["output"])
        assert "proc.vpid" not in alert["output_fields"]  # type: ignore[operator]


def test_suggested_fields_are_appended_unless_a_setting_excludes_them(tmp_path: Path) -> None:
    """The last entry that matches decides, and fields without a value are not in the text."""
    off, on = (
        "append_output[]={suggested_output: false}",
        "append_output[]={match: {tags: [a]}, suggested_output: true}",
    )
    texts = [str(alerts(tmp_path, *flags)[0]["output"]) for flags in ((), ("-o", off), ("-o", off, "-o", on))]

    assert [text.endswith("container_id=host container_name=host") for text in texts] == [True, False, True]
    assert not any("<NA>" in text for text in texts)


def test_a_field_that_there_is_not_is_bad_input(tmp_path: Path) -> None:
    """The error names the setting, before any event is evaluated."""
    recording = write_recording(tmp_path / "shadow.avro", shadow_read())
    done = lanner("replay", recording, "-r", rules(tmp_path), "-o", "append_output[]={extra_fields: [proc.nam]}")
    assert done.returncode == 1
    assert "append_output" in done.stderr
