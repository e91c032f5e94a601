import json
from pathlib import Path
from typing import Never

import pytest
from click.testing import CliRunner

from lanner.cli.app import lanner_command
from lanner.settings.named import KINDS
from lanner.wiring.sinks.kinds import SinkContext, SinkKind
from lanner.wiring.sinks.registry import SINKS
from tests.unit.lanner.test_rules_commands import rules
from tests.unit.recordings import shadow_read, write_recording


def test_replay_sends_alerts_to_standard_output_and_no_other_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever sinks the settings enable, and of whatever kind: an old alert must not look like a new one."""

    def refuse(context: SinkContext) -> Never:
        raise AssertionError(f"{context.name} was opened")

    for kind in SINKS:
        monkeypatch.setitem(SINKS, kind, SinkKind(refuse, prepare_direct=refuse))
    lines = [f"{kind}_output: {{enabled: true}}" for kind in KINDS]
    lines += ["sinks:", *(f"  my_{kind}: {{type: {kind}}}" for kind in KINDS)]
    lines += ["stdout_output: {enabled: false}", "mute: [{match: {}}]", "routes: [{sink: my_file}]"]
    config = tmp_path / "lanner.yaml"
    config.write_text("\n".join(lines))
    recording = write_recording(tmp_path / "shadow.avro", shadow_read())

    words = ["-c", config, "replay", recording, "-r", rules(tmp_path), "--format", "json", "-q"]
    done = CliRunner().invoke(lanner_command, [str(word) for word in words], catch_exceptions=False)

    assert done.exit_code == 0
    assert json.loads(done.stdout)["priority"] == "Warning"
