"""Measure events per second from a capture through rules on one core, beside the same events as a recording.

    python -m bench.captures CAPTURE RULES...

Without arguments, the capture of containers and upstream's rules of LANNER_CONFORMANCE_DIR are used, as in the tests.
The capture is repeated until it has at least 250,000 events. Reading, state and evaluation are timed together, in
processor time.
"""

import io
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from lanner.captures.reading import CaptureReader
from processor.evaluator import CompiledRuleset, Evaluator, compile_ruleset
from processor.loading import RuleFile, load_rules
from schemas.batch import EventBatch
from schemas.codec import encode_batch
from schemas.encoding.recording import RecordingWriter, read_recording

EVENTS = 250_000
ROUNDS = 5


def _rules(paths: list[Path]) -> CompiledRuleset:
    loaded = load_rules([RuleFile(str(path), path.read_bytes()) for path in paths])
    return compile_ruleset([rule for rule in loaded.rules if rule.enabled], loaded.correlations, loaded.suppressed)


def _rate(rules: CompiledRuleset, events: int, batches: Callable[[], Iterator[EventBatch]]) -> tuple[int, int]:
    """Return events per second and the number of alerts."""
    alerts = 0
    rates = []
    for _ in range(ROUNDS):
        evaluator, start = Evaluator(rules), time.process_time()
        alerts = sum(len(evaluator.replay(batch)) for batch in batches())
        rates.append(events / (time.process_time() - start))
    return round(statistics.median(rates)), alerts


def _given() -> list[Path]:
    folder = os.environ.get("LANNER_CONFORMANCE_DIR")
    if folder is None:
        return []
    own = Path(folder).parent
    return [own / "captures" / "containers.scap", own / "rules_files" / "falcosecurity_rules" / "falco_rules.yaml"]


def main(words: Sequence[str] = ()) -> None:
    """Measure, and print a row for each way of reading."""
    files = [Path(word) for word in words] or _given()
    if len(files) < 2:
        print("not measured: give a capture and rules to bench.captures, or set LANNER_CONFORMANCE_DIR")
        return
    capture, *paths = files
    rules = _rules(paths)
    once = capture.read_bytes()
    events = sum(batch.count for batch in CaptureReader(io.BytesIO(once), str(capture)).batches())
    data = once * -(-EVENTS // events)
    events *= -(-EVENTS // events)
    print(f"{events:,} events, {len(rules.rule_names)} rules")

    def captured(*, is_complete: bool) -> Iterator[EventBatch]:
        exclusions = None if is_complete else rules.exclusions
        return CaptureReader(io.BytesIO(data), str(capture), exclusions).batches()

    with TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.avro"
        writer = RecordingWriter(recording)
        for batch in captured(is_complete=True):
            writer.write(encode_batch(batch))
        writer.close()
        rows = {
            "capture": lambda: captured(is_complete=False),
            "capture, every event decoded": lambda: captured(is_complete=True),
            "recording of the same events": lambda: read_recording(recording),
        }
        for name, batches in rows.items():
            rate, alerts = _rate(rules, events, batches)
            print(f"{name:<32}{rate:>10,} events/s  {alerts:>6} alerts", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
