"""The setting redact, from a recording to the output."""

import json
from dataclasses import replace
from pathlib import Path

from tests.unit.lanner.program import lanner
from tests.unit.recordings import shadow_read, write_recording

RULE = """
- rule: Shadow
  desc: x
  condition: evt.type = openat and proc.cmdline endswith hunter2
  output: read by %proc.cmdline
  priority: NOTICE
"""


def inputs(folder: Path) -> tuple[Path, Path]:
    """Return a recording of one read by a program with a password in its arguments, and a rule file."""
    batch = shadow_read()
    shell, reader = batch.processes
    batch.processes = [shell, replace(reader, args=("--password", "hunter2"))]
    rules = folder / "rules.yaml"
    rules.write_text(RULE)
    return write_recording(folder / "events.avro", batch), rules


def test_replay_and_context_mask_by_the_setting(tmp_path: Path) -> None:
    """Masked by default, not with an empty list; the rule matches on the password, and the id is unchanged."""
    recording, rules = inputs(tmp_path)
    given = ("-r", rules, "--format", "json")
    masked = lanner("replay", recording, *given)
    raw = lanner("replay", recording, *given, "-o", "redact=[]")
    assert "read by cat --password [redacted]" in json.loads(masked.stdout)["output"]
    assert "hunter2" not in masked.stdout
    assert "read by cat --password hunter2" in json.loads(raw.stdout)["output"]
    identity = json.loads(masked.stdout)["id"]
    assert identity == json.loads(raw.stdout)["id"]

    context = ("context", identity, "--file", recording, *given)
    assert '"proc.cmdline": "cat --password [redacted]"' in lanner(*context).stdout
    assert '"proc.cmdline": "[redacted] --password hunter2"' in lanner(*context, "-o", "redact=(cat)").stdout


def test_a_bad_pattern_is_reported_with_its_location(tmp_path: Path) -> None:
    """All errors are reported at once."""
    (tmp_path / "lanner.yaml").write_text("redact:\n- default\n- 'a(b'\n- plain\n")
    done = lanner("config", "check", "-c", tmp_path / "lanner.yaml")
    assert done.returncode == 1
    assert "lanner.yaml:3:3: redact[1]: 'a(b' is not a valid RE2 regular expression: missing ): a(b." in done.stderr
    assert "lanner.yaml:4:3: redact[2]: 'plain' must have one group, round what is masked, and has 0" in done.stderr
