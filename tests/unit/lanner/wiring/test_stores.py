from dataclasses import replace
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.wiring.rules import load_detection
from lanner.wiring.stores import collected, open_recording
from schemas.filter import Clause

RULE = """
- rule: Shadow
  desc: x
  condition: evt.type = openat and fd.name = /etc/shadow
  output: read %fd.name
  priority: NOTICE
"""


def settings_of(folder: Path) -> Settings:
    """Return settings with one rule, and a recording in a folder."""
    rules = folder / "rules.yaml"
    rules.write_text(RULE)
    default = Settings(rules_files=(str(rules),))
    return replace(default, keep=replace(default.keep, folder=str(folder / "kept")))


def test_what_shows_the_cause_is_collected_for_a_recording(tmp_path: Path) -> None:
    """Program starts pass the filter whole, although no rule needs them; what rules need is unchanged."""
    settings = settings_of(tmp_path)
    detection = load_detection(settings)
    chosen = collected(settings, detection)
    assert chosen.event_types == {"openat", "execve", "execveat", "procexit", "listen", "connect"}
    assert Clause("execve") in chosen.pushdown_filter.clauses
    assert detection.pushdown_filter.clauses < chosen.pushdown_filter.clauses


def test_without_a_recording_rules_alone_decide(tmp_path: Path) -> None:
    """Nothing is collected for nobody."""
    settings = settings_of(tmp_path)
    off = replace(settings, keep=replace(settings.keep, size_mib=0))
    detection = load_detection(off)
    assert collected(off, detection).pushdown_filter == detection.pushdown_filter
    assert open_recording(off, print) is None
    assert not (tmp_path / "kept").exists()


def test_an_unknown_event_type_is_an_error(tmp_path: Path) -> None:
    """The error names the setting."""
    settings = settings_of(tmp_path)
    wrong = replace(settings, collector=replace(settings.collector, always_sent=("exec",)))
    with pytest.raises(BadInput, match=r"collector\.always_sent\[0\]: 'exec'"):
        collected(wrong, load_detection(wrong))


def test_a_second_run_watches_without_recording(tmp_path: Path) -> None:
    """It reports the reason; the first continues."""
    settings = settings_of(tmp_path)
    notes: list[tuple[str, str]] = []
    first = open_recording(settings, print)
    assert first is not None
    second = open_recording(settings, lambda text, level="info", /: notes.append((level, text)))
    assert second is None
    ((level, text),) = notes
    assert level == "warning"
    assert text == (
        f"keep.folder: {tmp_path}/kept: another process records to this folder. "
        "This run records nothing, so `lanner context` won't show what it sees."
    )
    first.close()


def test_a_folder_that_cannot_be_used_stops_no_detection(tmp_path: Path) -> None:
    """As on a read-only file system."""
    settings = settings_of(tmp_path)
    (tmp_path / "kept").write_text("")
    notes: list[str] = []
    assert open_recording(settings, lambda text, _level="info", /: notes.append(text)) is None
    assert "File exists" in notes[0]
