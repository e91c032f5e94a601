"""A recording is searched for the entries that a list gains while its file is followed."""

import lzma
import threading
from pathlib import Path

from lanner.hunting.new_matches import RecordedSearch, SearchedRule, own_rules
from lanner.recorder.recording import RecordingStore
from lanner.recorder.store import EventRange
from processor.detection.repeats import RepeatedAlerts
from processor.detection.stage import compile_ruleset
from processor.loading import LoadResult, RuleFile, load_rules
from tests.unit.lanner.hunting.test_indicator_search import ROOT, RULES, live, write


def _own(loaded: LoadResult) -> list[SearchedRule]:
    return [SearchedRule(rule, compile_ruleset([rule], loaded.macros)) for rule in own_rules(loaded.rules)]


def test_a_change_of_a_file_finds_what_live_rules_would_have_found(tmp_path: Path) -> None:
    """The ids are those of live alerts; the lists of live rules are not touched, and what they found is left out."""
    recorded = tmp_path / "kept"
    recorded.mkdir()
    data = (ROOT / "tests/recordings/ordinary/names.avro.xz").read_bytes()
    (recorded / "events.avro").write_bytes(lzma.decompress(data))
    write(tmp_path, "c2.txt", "198.51.100.1")
    write(tmp_path, "domains.txt", "missing.example.com")
    loaded = load_rules([RuleFile("rules.yaml", RULES.format(folder=tmp_path))])
    store = RecordingStore(recorded)
    stored = list(store.batches(EventRange(0), lambda: False))
    before = live(stored, tmp_path)
    c2 = loaded.indicators["c2"].indicators
    former = c2.contents
    notes: list[str] = []
    done = threading.Event()

    def note(text: str, *_: object) -> None:
        notes.append(text)
        done.set()

    search = RecordedSearch(store, lambda: _own(loaded), lambda: RepeatedAlerts(None), note, rest=0)
    try:
        write(tmp_path, "c2.txt", "198.51.100.4/31 # C2", "198.51.100.1")
        c2.load()
        search.changed(c2, former)
        assert done.wait(60)
        found = list(search.take())
        expected = live(stored, tmp_path).keys() - before.keys()
        assert {each.id for each in found} == expected
        assert len(found) == len(expected) > 0
        assert all("indicator.found_later" in each.output_fields for each in found)
        assert notes[0].startswith(f"1 new entry of c2 searched for in the recording: {len(found)} alerts")
        assert c2.accepts is None
        assert not list(search.take())
    finally:
        search.stop()
