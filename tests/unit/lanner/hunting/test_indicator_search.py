"""An archive is searched for the entries that lists gain: what live rules would have found, once."""

import lzma
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from foundation.text import ignore_note
from lanner.archive.files import HOUR_MS, ArchiveFiles, open_folder, store
from lanner.archive.restored import head_rows
from lanner.archive.rows import ArchivedBatch, tables
from lanner.hunting.indicator_search import IndicatorSearch, SearchedEntries, SearchPorts
from lanner.hunting.new_matches import SearchedRule
from lanner.recorder.store import StoredBatch
from processor.detection.repeats import RepeatedAlerts
from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.detection.view import BatchView
from processor.loading import RuleFile, load_rules
from processor.output.internal_alerts import INDICATORS_SEARCHED
from schemas.alert import Alert
from schemas.encoding.recording import read_recording

ROOT = Path(__file__).parents[4]
RULES = """
- indicators: c2
  file: {folder}/c2.txt
  kind: address
- indicators: domains
  file: {folder}/domains.txt
  kind: name
- rule: Listed address
  desc: A process connected to a listed address.
  condition: evt.type = connect and fd.sip in_indicators (c2)
  output: Connection (connection=%fd.name)
  priority: CRITICAL
- rule: Listed name
  desc: A process looked up a listed name.
  condition: dns.question.name in_indicators (domains) and not proc.name = none
  output: Look-up (name=%dns.question.name)
  priority: CRITICAL
"""
Files = tuple[ArchiveFiles, list[StoredBatch]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return an archive of two hours of look-ups and connections, and their batches."""
    folder = tmp_path_factory.mktemp("archive")
    recording = folder / "names.avro"
    recording.write_bytes(lzma.decompress((ROOT / "tests/recordings/ordinary/names.avro.xz").read_bytes()))
    batches = list(read_recording(recording))
    later = len(batches) // 2
    stored = [
        StoredBatch(batch, batch.created // 1_000_000 + (number >= later) * HOUR_MS)
        for number, batch in enumerate(batches)
    ]
    files = open_folder(str(folder))
    for first, end in ((0, later), (later, len(stored))):
        parts = [ArchivedBatch(each, 0, first + at) for at, each in enumerate(stored[first:end])]
        bounds = (0, first, end)
        store(files, "events", bounds, stored[first].appended, tables(parts))
        store(files, "batches", bounds, stored[first].appended, [head_rows(parts)])
    return files, stored


class Process:
    """One process that searches; a fresh one knows what is on the disk."""

    def __init__(self, archive: Files, folder: Path) -> None:
        (folder / "archive").mkdir(exist_ok=True)
        for dataset in ("events", "batches"):
            if not (folder / "archive" / dataset).exists():
                (folder / "archive" / dataset).symlink_to(f"{archive[0].root}/{dataset}")
        self.published: list[list[Alert]] = []
        self.on_publish: Callable[[], None] = lambda: None
        ports = SearchPorts(
            lambda: rules_of(folder), self._publish, lambda: RepeatedAlerts(None),
            lambda: False, lambda _: None, ignore_note,
        )  # fmt: skip
        self.search = IndicatorSearch(open_folder(str(folder / "archive")), ports, days=30, delay_ms=60_000)

    def _publish(self, alerts: Sequence[Alert]) -> None:
        if alerts:
            self.on_publish()
            self.published.append(list(alerts))

    @property
    def found(self) -> list[Alert]:
        """The alerts of rules."""
        return [each for alerts in self.published for each in alerts if each.rule != INDICATORS_SEARCHED]

    @property
    def reports(self) -> list[Alert]:
        """The alerts about searches."""
        return [each for alerts in self.published for each in alerts if each.rule == INDICATORS_SEARCHED]


def rules_of(folder: Path) -> list[SearchedRule]:
    """Return rules whose lists are in a folder."""
    loaded = load_rules([RuleFile("rules.yaml", RULES.format(folder=folder))])
    assert not loaded.errors
    return [SearchedRule(rule, compile_ruleset([rule], loaded.macros)) for rule in loaded.rules]


def live(stored: list[StoredBatch], folder: Path) -> dict[str, Alert]:
    """Return by id what the rules find in the batches with the lists that are there now."""

    def of(ruleset: CompiledRuleset) -> Iterator[Alert]:
        for each in stored:
            yield from ruleset.detector.process(BatchView(each.batch))

    return {each.id: each for rule in rules_of(folder) for each in of(rule.ruleset)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two lists."""
    write(tmp_path, "c2.txt", "198.51.100.1")
    write(tmp_path, "domains.txt", "missing.example.com")
    return tmp_path


def write(folder: Path, name: str, *lines: str) -> None:
    """Replace a file, as a feed does."""
    (folder / f"{name}.new").write_text("".join(f"{line}\n" for line in lines))
    (folder / f"{name}.new").replace(folder / name)


def test_new_entries_find_what_rules_would_have_found_and_nothing_else(archive: Files, folder: Path) -> None:
    """By the ids of live alerts, with the time of the event and a mark; what former entries match was found before."""
    now = archive[1][-1].appended + HOUR_MS
    before = live(archive[1], folder)
    process = Process(archive, folder)
    process.search.look(now)
    process.search.look(now + HOUR_MS)
    assert not process.published

    write(folder, "c2.txt", "198.51.100.1", "198.51.100.4/31 # C2", "198.51.100.0/24")
    write(folder, "domains.txt", "missing.example.com", "NPM.example.com.")
    expected = {key: alert for key, alert in live(archive[1], folder).items() if key not in before}
    process.search.look(now + HOUR_MS)
    assert not process.published, "what arrives until then is not in files yet"
    process.search.look(now + 2 * HOUR_MS)

    assert expected
    assert {each.id for each in process.found} == set(expected)
    assert len(process.found) == len(expected)
    for each in process.found:
        own = expected[each.id]
        later = each.output_fields["indicator.found_later"]
        assert each.output == f"{own.output} indicator_found_later={later}"
        different = {name for name in {*each.event, *own.event} if each.event.get(name) != own.event.get(name)}
        assert (each.time, different) == (own.time, set())
    (report,) = process.reports
    assert report.output_fields["indicator.entries"] == 3
    assert report.output_fields["indicator.alerts"] == len(expected)

    process.search.look(now + 3 * HOUR_MS)
    Process(archive, folder).search.look(now + 3 * HOUR_MS)
    assert len(process.reports) == 1


def test_a_search_that_was_killed_continues(archive: Files, folder: Path) -> None:
    """Before or after its alerts were published; none is missing, and one that comes again has the same id."""
    now = archive[1][-1].appended + HOUR_MS
    before = live(archive[1], folder)
    Process(archive, folder).search.look(now)
    write(folder, "c2.txt", "198.51.100.1", "198.51.100.0/24")
    expected = live(archive[1], folder).keys() - before.keys()
    Process(archive, folder).search.look(now)

    killed = Process(archive, folder)

    def die() -> None:
        if killed.published:
            raise KeyboardInterrupt

    killed.on_publish = die
    with pytest.raises(KeyboardInterrupt):
        killed.search.look(now + HOUR_MS)
    assert 0 < len(killed.found) < len(expected)
    # An entry that comes while a search is under way is for the next one.
    write(folder, "c2.txt", "198.51.100.1", "198.51.100.0/24", "127.0.0.0/8")

    fresh = Process(archive, folder)
    fresh.search.look(now + HOUR_MS)
    assert {each.id for each in (*killed.found, *fresh.found)} == expected
    assert len(killed.found) + len(fresh.found) == len(expected)
    fresh.search.look(now + HOUR_MS)
    fresh.search.look(now + 2 * HOUR_MS)
    assert any("127.0.0.1" in each.output for each in fresh.found[len(expected) - len(killed.found) :])


def test_what_was_not_collected_is_stated(archive: Files, folder: Path, tmp_path: Path) -> None:
    """Hosts that did not send what a rule needs, and a file that can't be read."""
    files, stored = archive
    now = stored[-1].appended + HOUR_MS
    own = tmp_path / "archive"
    for dataset in ("events", "batches"):
        (own / dataset).mkdir(parents=True)
        for each in files.all(dataset):
            copy = own / dataset / Path(each.path).relative_to(f"{files.root}/{dataset}")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(Path(each.path).read_bytes())
    header = {"host_id": "h2", "hostname": "\x1b[31mblind", "watched": ["execve"], "narrowed": []}
    blind = [
        ArchivedBatch(replace(each, batch=replace(each.batch, **header)), 1, at) for at, each in enumerate(stored[:2])
    ]
    store(open_folder(str(own)), "batches", (1, 0, 2), stored[0].appended, [head_rows(blind)])
    Process(archive, folder).search.look(now)
    write(folder, "c2.txt", "203.0.113.9")
    damaged = open_folder(str(own)).select("events")[0]
    os.truncate(damaged.path, 1000)
    process = Process(archive, folder)
    process.search.look(now)
    process.search.look(now + HOUR_MS)

    (report,) = process.reports
    assert not process.found
    assert "not collected, because no rule at that time needed it: connect (\\x1b[31mblind)" in report.output
    assert "1 file of the archive could not be read" in report.output
    assert "\x1b" not in report.output


@pytest.mark.parametrize("data", [b"\xff", b"[]", b"null", b'{"since": "x"}', b'{"lists": 5}', b'{"lists": ["a"]}'])
def test_a_damaged_file_is_no_search_that_is_under_way(data: bytes, tmp_path: Path) -> None:
    """What it was about is searched for again."""
    (tmp_path / "indicators").mkdir()
    (tmp_path / "indicators/search.json").write_bytes(data)
    (tmp_path / "indicators/c2.known").write_bytes(b"odd")
    state = SearchedEntries(open_folder(str(tmp_path)))
    assert (state.progress(), state.entries("c2", "known"), state.is_new) == (None, None, False)
