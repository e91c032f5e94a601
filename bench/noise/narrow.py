"""Writes recordings again with less in them: the events that the kernel would have sent for some rules alone.

They are compressed as a whole, because what one batch says of processes is almost what the one before says.
"""

import lzma
import tempfile
from collections import defaultdict
from pathlib import Path

from bench.noise.recorder import Recording
from processor.detection.ruleset import CompiledRuleset
from processor.pushdown.cost import RecordedEvents
from processor.pushdown.derive import derive
from schemas.batch import EventBatch
from schemas.encoding.recording import read_recording
from schemas.filter import Clause
from tests.live.anonymous import only


def narrow(source: Path, target: Path, rules: CompiledRuleset) -> None:
    """Write one recording for some rules.

    Args:
        source: a recording for these rules and others.
        target: the new file, compressed by xz.
        rules: everything that any of them needs stays.
    """
    clauses: dict[str, list[Clause]] = defaultdict(list)
    for clause in derive(rules.conditions, rules.event_types).clauses:
        clauses[clause.event].append(clause)
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder, source.name), level=0)
        for batch in read_recording(source):
            events = _needed(batch, clauses)
            if events:
                recording.write(only(batch, events))
        recording.close()
        target.write_bytes(lzma.compress(recording.path.read_bytes(), preset=9))


def _needed(batch: EventBatch, clauses: dict[str, list[Clause]]) -> list[int]:
    recorded = RecordedEvents(batch)
    return [index for index in range(batch.count) if recorded.passes(index, clauses[recorded.event(index)])]
