import io
import signal
import sys
from pathlib import Path

import pytest

from lanner.commands.rules.cost import measure
from lanner.settings import Settings
from lanner.tuning.costs import MeasuredCosts
from lanner.wiring.rules import load_detection
from tests.unit.lanner.test_rules_commands import rules
from tests.unit.processor.correlation.rules import NEW_PROGRAM, rule
from tests.unit.recordings import shadow_read, write_recording


class ImpatientTerminal(io.StringIO):
    """A terminal at which somebody presses Ctrl-C as soon as progress is shown."""

    def isatty(self) -> bool:
        """Return true."""
        return True

    def write(self, text: str) -> int:
        """Interrupt the process, the first time."""
        if not self.getvalue():
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def measured(folder: Path, text: str | None = None) -> MeasuredCosts:
    """Measure one version of the rules against itself on two reads."""
    settings = Settings(rules_files=(str(rules(folder) if text is None else rules(folder, text)),))
    detection = load_detection(settings, warnings=False)
    recording = write_recording(folder / "two.avro", shadow_read(), shadow_read())
    return measure(settings, detection, detection, recording=recording, since=0, quiet=False)


def test_a_whole_recording_is_measured_completely(tmp_path: Path) -> None:
    """Nobody has to wonder what is missing."""
    found = measured(tmp_path)

    assert (found.costs.events, found.is_complete) == (2, True)
    assert "stopped early" not in found.remarks


def test_a_macro_that_learned_all_the_time_is_named(tmp_path: Path) -> None:
    """Its rule would look quiet."""
    found = measured(tmp_path, NEW_PROGRAM + rule("new_program"))

    assert "alerts of new_program, which learns for the first 1h" in found.remarks


def test_an_interrupted_measurement_is_incomplete_and_leaves_signals_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No version may be published because of it, and what follows can be interrupted as well."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", ImpatientTerminal())
    before = signal.getsignal(signal.SIGINT)

    found = measured(tmp_path)

    assert (found.costs.events, found.is_complete) == (1, False)
    assert "stopped early" in found.remarks
    assert signal.getsignal(signal.SIGINT) is before
