"""Break down the processor's and the collector's time for one batch.

    python -m bench.batches events.avro RULES...      microseconds per batch of 500 events, by part

It takes the same recording as bench.fleet, and measures the processor time of this thread, the lowest of several
rounds. The parts don't add up to the total, which also pays for cache misses that the parts avoid.
"""

import sys
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bench.noise.count import compiled_rules
from processor.detection.view import BatchView
from processor.fleet.message_stage import MessageStage
from schemas.encoding.batch import EVENT_BATCH_FORMAT, decode_batch, encode_batch
from schemas.encoding.columns import COLUMNS, PROCESS_COLUMNS, pack_processes, unpack_columns, unpack_processes
from schemas.encoding.limits import TextTable, pack_texts, unpack_texts
from schemas.encoding.recording import read_recording

ROUNDS = 7
BATCHES = 200
T = TypeVar("T")


def main(recording: str, rules: Sequence[str]) -> None:
    """Print a line for each part."""
    batches = [batch for batch in read_recording(Path(recording)) if batch.count == 500][:BATCHES]
    built = [
        replace(batch, columns={name: array(code, batch.columns[name]) for name, code in COLUMNS.items()})
        for batch in batches
    ]
    encoded = list(map(encode_batch, built))
    datums: list[Any] = list(map(EVENT_BATCH_FORMAT.decode, encoded))
    tables = [(_with_prefix(datum, "p_", PROCESS_COLUMNS), batch) for datum, batch in zip(datums, batches, strict=True)]
    columns = [(_with_prefix(datum, "c_", COLUMNS), batch) for datum, batch in zip(datums, batches, strict=True)]
    ruleset = compiled_rules(rules)
    stage = MessageStage(ruleset, clock=time.monotonic)
    print(f"{len(batches)} batches of {sum(map(len, encoded)) // len(encoded):,} bytes")
    now = batches[0].created // 1_000_000
    _report("the detect stage, all of it", lambda value: stage.take(0, value, now), encoded)
    _report("decoding", decode_batch, encoded)
    _report("  Avro", EVENT_BATCH_FORMAT.decode, encoded)
    _report("  texts", lambda datum: unpack_texts(datum["texts"], datum["text_lengths"]), datums)
    _report("  processes", lambda each: unpack_processes(each[0], each[1].strings, len(each[1].containers)), tables)
    _report(
        "  columns of events",
        lambda each: unpack_columns(each[0], each[1].count, len(each[1].strings), len(each[1].processes)),
        columns,
    )
    _report(
        f"evaluating {len(ruleset.names_of())} rules", lambda each: ruleset.detector.process(BatchView(each)), batches
    )
    _report("encoding", encode_batch, built)
    _report("  Avro", EVENT_BATCH_FORMAT.encode, datums)
    _report("  texts", lambda batch: pack_texts(TextTable(batch.strings).texts), built)
    _report(
        "  processes",
        lambda batch: pack_processes(batch.processes, TextTable(batch.strings), {id(None): 0}, {None: 0}),
        built,
    )


def _with_prefix(datum: dict[str, Any], prefix: str, names: Iterable[str]) -> dict[str, bytes]:
    return {name: datum[prefix + name] for name in names}


def _report(name: str, work: Callable[[T], object], given: Sequence[T]) -> None:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        for each in given:
            work(each)
        best = min(best, time.thread_time() - began)
    print(f"{name}: {1e6 * best / len(given):.0f}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
