from pathlib import Path
from typing import Any

import pytest

from lanner.ruleset.published import NewestRules, OlderRules, StoredVersion
from processor.fleet.rules.actions import RulesInUse
from schemas.published_rules import PublishedRules
from tests.notes import into


def rules(published: int) -> tuple[RulesInUse, StoredVersion]:
    """Return a version whose rules don't matter, and its message."""
    nothing: Any = None
    made = PublishedRules(files=()).named(published)
    in_use = RulesInUse(nothing, nothing, nothing, close=lambda: None, published=made)
    return in_use, StoredVersion(bytes(64) + str(published).encode())


def test_an_older_version_is_refused_over_restarts(tmp_path: Path) -> None:
    """The same and newer versions are accepted; only the owner can read the file."""
    file = tmp_path / "state" / "newest.json"
    notes: list[str] = []
    for stored in (NewestRules(file, into(notes)), NewestRules(file, into(notes))):
        stored.accepted(*rules(2_000_000_000))
        with pytest.raises(OlderRules, match="older than"):
            stored.accepted(*rules(1_000_000_000))
    assert {each.stat().st_mode & 0o777 for each in file.parent.iterdir()} == {0o600}
    version = NewestRules(file, into(notes)).stored()
    assert version is not None
    assert version.value() == b"2000000000"
    NewestRules(file, into(notes)).accepted(*rules(3_000_000_000))
    with pytest.raises(OlderRules):
        NewestRules(file, into(notes)).accepted(*rules(2_000_000_000))
    assert not notes


@pytest.mark.parametrize("content", ["", "[]", '{"published": "soon"}', '{"published": 1}', "[" * 5000])
def test_a_file_that_can_not_be_read_is_reported_once(tmp_path: Path, content: str) -> None:
    """The next version is stored in its place."""
    file = tmp_path / "newest.json"
    file.write_text(content)
    notes: list[str] = []
    NewestRules(file, into(notes)).accepted(*rules(2_000_000_000))
    assert len(notes) == 1
    with pytest.raises(OlderRules):
        NewestRules(file, into(notes)).accepted(*rules(1_000_000_000))


def test_a_place_that_can_not_be_written_is_reported(tmp_path: Path) -> None:
    """The version is used, and older ones are refused while the process lives."""
    (tmp_path / "file").write_text("")
    notes: list[str] = []
    stored = NewestRules(tmp_path / "file" / "newest.json", into(notes))
    stored.accepted(*rules(2_000_000_000))
    assert "published_rules.state_dir" in notes[0]
    with pytest.raises(OlderRules):
        stored.accepted(*rules(1_000_000_000))
