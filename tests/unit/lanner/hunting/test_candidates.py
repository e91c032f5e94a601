"""The events of an archive that rules may match, instead of all."""

from collections.abc import Iterator
from pathlib import Path

from foundation.text import ignore_note
from lanner.archive.files import open_folder
from lanner.archive.store import AllRows, ArchiveStore
from lanner.hunting.candidates import CandidateRows
from lanner.recorder.store import EventRange
from lanner.settings import Settings
from lanner.tuning.backtest import BacktestVersion
from lanner.wiring.rules import load_detection
from processor.evaluator import Evaluator
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import read_recording
from tests.unit.lanner.archive.test_intake import Received, intake

ROOT = Path(__file__).parents[4]


def test_rules_alert_on_candidates_as_on_all_events(tmp_path: Path) -> None:
    """Some of the built-in rules, on recorded actions, by counts and sequences too; most events are left out."""
    taking = intake(tmp_path, limit_bytes=64 << 20)
    for at, batch in enumerate(list(read_recording(ROOT / "rules" / "acts.avro"))[::3]):
        taking.take("events", Received(encode_batch(batch), batch.created // 1_000_000, at), 0.0)
    list(taking.store_all())
    files = open_folder(str(tmp_path))
    detection = load_detection(Settings(), warnings=False)
    names = [*detection.ruleset.detector.rule_names[::12], *(rule.name for rule in detection.ruleset.plan.rules[::4])]
    conditions = BacktestVersion(detection, names).conditions

    def outcome(reader: AllRows) -> tuple[list[tuple[str, int, str]], int, int]:
        evaluator = Evaluator(detection.ruleset)
        read = total = 0

        def alerts() -> Iterator[tuple[str, int, str]]:
            nonlocal read, total
            for stored in ArchiveStore(files, ignore_note, reader).batches(EventRange(0), lambda: False):
                read, total = read + stored.batch.count, total + stored.events
                yield from ((each.rule, each.time, each.output) for each in evaluator.replay(stored.batch))

        return sorted(each for each in alerts() if each[0] in names), read, total

    every, of_all, total = outcome(AllRows())
    few, of_candidates, same = outcome(CandidateRows(conditions))
    assert few == every
    assert every
    assert same == total
    assert of_candidates * 4 < of_all
