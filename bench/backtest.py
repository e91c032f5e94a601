"""Rules over months of an archive: events per second of a backtest, and where its time goes.

    python -m bench.backtest [DAYS [HOSTS]]

A recording of ordinary work is stored once a day for each host, with later times, as `lanner archive` does, and the
files of each hour are merged.
"""

import sys
import tempfile
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from io import BufferedReader, BytesIO
from lzma import decompress

from bench.archive import NOON, RECORDINGS, Message
from foundation.text import ignore_note
from lanner.archive.files import HOUR_MS, ArchiveFiles, open_folder
from lanner.archive.intake import Intake
from lanner.archive.store import AllRows, ArchiveStore
from lanner.archive.upkeep import Upkeep
from lanner.hunting.candidates import CandidateRows
from lanner.recorder.store import EventRange
from lanner.ruleset.compile import CompiledDetection
from lanner.settings import Settings
from lanner.tuning.backtest import BacktestRange, BacktestRun, BacktestVersion
from lanner.wiring.rules import load_detection
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import read_open_recording

DAY_MS = 24 * HOUR_MS
MIB = 1 << 20
RECORDED = "nginx.avro.xz"
FEW = ("Read sensitive file untrusted", "Port scan")


@dataclass(frozen=True, slots=True)
class Dated(Message):
    """A message of a day."""

    stamp: int = 0

    def timestamp(self) -> tuple[int, int]:
        """Return when it arrived, ms since the epoch."""
        return 2, self.stamp


def recorded() -> Sequence[EventBatch]:
    """Return the batches of one recording."""
    path = RECORDINGS / RECORDED
    with closing(BufferedReader(BytesIO(decompress(path.read_bytes())))) as file:
        return list(read_open_recording(file, path))


def days(number: int, hosts: int) -> Iterator[list[Dated]]:
    """Yield the messages of each day."""
    batches = recorded()
    began = batches[0].created
    offset = 0
    for day in range(number):
        found = []
        for at, batch in enumerate(batches):
            for host in range(hosts):
                stamp = NOON + day * DAY_MS + (batch.created - began) // 1_000_000
                step = stamp * 1_000_000 - batch.created
                times = array("q", (each + step for each in batch.columns["time"]))
                name = f"host-{host:02}"
                whose = replace(batch, host_id=name, hostname=name, sequence=day * len(batches) + at + 1)
                moved = replace(whose, created=batch.created + step, columns={**batch.columns, "time": times})
                found.append(Dated(encode_batch(moved), offset, stamp))
                offset += 1
        yield found


def fill(files: ArchiveFiles, number: int, hosts: int) -> int:
    """Store the days; return the number of events."""
    intake = Intake(files, Message.value, print, limit_bytes=64 * MIB, flush_seconds=1e9)
    for found in days(number, hosts):
        for message in found:
            intake.take("events", message, 0.0)
        list(intake.store_all())
    upkeep = Upkeep(files, print, max_days=0, max_bytes=0)
    for _ in range(2):
        upkeep.look(NOON + (number + 1) * DAY_MS)
    return intake.counts.events


def measure(files: ArchiveFiles, detection: CompiledDetection, names: Sequence[str] | None, number: int) -> None:
    """Print what a backtest over all days takes."""
    version = BacktestVersion(detection, names)
    run = BacktestRun((version,), BacktestRange(NOON - 1, NOON + number * DAY_MS))
    wall, cpu = time.monotonic(), time.process_time()
    reader = AllRows() if names is None else CandidateRows(version.conditions)
    reading = ArchiveStore(files, ignore_note, reader).batches(
        EventRange(run.read_from, run.range.until), lambda: False
    )
    run.evaluate(reading, {}, lambda _: True, stop=lambda: False, show=lambda _: None)
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    what = "all active rules" if names is None else ", ".join(version.names)
    print(
        f"{what}: {run.counts.sentence(run.days)}; {run.events:,} events, {run.events / cpu:,.0f} a second of CPU "
        f"({run.events / wall:,.0f} of this time)"
    )


def main() -> None:
    """Print the figures."""
    number, hosts = (int(each) for each in [*sys.argv[1:], *("90", "2")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as folder:
        files = open_folder(folder)
        began = time.process_time()
        events = fill(files, number, hosts)
        print(
            f"{events:,} rows of {number} days and {hosts} hosts, stored in {time.process_time() - began:.0f} s of CPU"
        )
        detection = load_detection(Settings(), warnings=False)
        for name in FEW:
            measure(files, detection, [name], number)
        measure(files, detection, None, number)


if __name__ == "__main__":
    main()
