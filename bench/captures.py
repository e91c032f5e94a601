"""Measure events per second from a capture through rules on one core, beside the same events as a recording.

    python -m bench.captures CAPTURE RULES...
    python -m bench.captures hostile

Without arguments, the capture of containers and upstream's rules of LANNER_CONFORMANCE_DIR are used, as in the tests.
The capture is repeated until it has at least 250,000 events. Reading, state and evaluation are timed together, in
processor time. `hostile` measures processor time and memory of captures that are made to take much of them.
"""

import gzip
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from bench.noise.count import compiled_rules
from lanner.captures.reader import CaptureReader
from processor.detection.stage import CompiledRuleset
from processor.evaluator import Evaluator
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter, read_recording
from tests.unit.lanner.captures.format import scap_files

EVENTS = 250_000
ROUNDS = 5


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


def _hostile() -> None:
    line = [scap_files.process(100 + number, parent=99 + number) for number in range(131_072)]
    large = (
        scap_files.process(100 + number, args=b"%08d\0" % number * 7000, cgroups=b"cpu=/%08d\0" % number * 4000)
        for number in range(3000)
    )
    gone = {"status": 0, "ret": 0, "sig": 0, "core": 0, "reaper_tid": 0}
    orphans: list[bytes] = []
    for number in range(200_000, 204_000, 2):
        orphans += (scap_files.cloned(number, 4099, "x")[1], scap_files.cloned(number + 1, number, "x")[1])
        orphans.append(scap_files.event("procexit", number, gone, is_exit=False))
    captures = {
        "131,072 processes in a line": scap_files.capture(listed=_lists(line, len(line))),
        "2,000 orphans below 4,000 processes": scap_files.capture(*orphans, listed=_lists(line[:4000], 4000)),
        "3,000 processes with long texts": scap_files.capture(listed=_lists(large, 100)),
    }
    for name, data in captures.items():
        with NamedTemporaryFile() as file:
            size = file.write(gzip.compress(data))
            file.flush()
            print(f"{name:<36}{size:>10,} bytes of gzip: ", end="", flush=True)
            # In a process of its own, whose memory is that of reading.
            subprocess.run([sys.executable, "-m", "bench.captures", "read", file.name], check=True)


def _read(path: Path) -> None:
    before, start = _most_resident(), time.process_time()
    with path.open("rb") as file:
        for _ in CaptureReader(file, str(path)).batches():
            pass
    print(f"{time.process_time() - start:.1f} s, {_most_resident()} MiB at most (before: {before})")


def _most_resident() -> int:
    """Return the most memory that this process has had, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def _lists(entries: Iterable[bytes], size: int) -> bytes:
    given = iter(entries)
    return b"".join(scap_files.processes(*chunk) for chunk in iter(lambda: tuple(islice(given, size)), ()))


def main(words: Sequence[str] = ()) -> None:
    """Measure, and print a row for each way of reading."""
    if list(words) == ["hostile"]:
        _hostile()
        return
    if words[:1] == ["read"]:
        _read(Path(words[1]))
        return
    files = [Path(word) for word in words] or _given()
    if len(files) < 2:
        print("not measured: give a capture and rules to bench.captures, or set LANNER_CONFORMANCE_DIR")
        return
    capture, *paths = files
    rules = compiled_rules(paths)
    once = capture.read_bytes()
    events = sum(batch.count for batch in CaptureReader(io.BytesIO(once), str(capture)).batches())
    data = once * -(-EVENTS // events)
    events *= -(-EVENTS // events)
    print(f"{events:,} events, {len(rules.names_of())} rules")

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
