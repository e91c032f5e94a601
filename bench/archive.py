"""What an archive takes: bytes per event beside those of the topic, CPU per million events, and memory.

    python -m bench.archive

The recordings of ordinary work are stored by an intake as `lanner archive` does, and the files merged. A topic's bytes
are those of its messages, each compressed by zstd as the client does with batches of this size.
"""

import io
import lzma
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cramjam

from foundation.text import ignore_note
from lanner.archive.files import HOUR_MS, open_folder
from lanner.archive.intake import Intake
from lanner.archive.store import ArchiveStore
from lanner.archive.upkeep import Upkeep
from lanner.recorder.store import EventRange
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import read_open_recording

RECORDINGS = Path(__file__).parents[1] / "tests" / "recordings" / "ordinary"
NOON = 1_764_504_000_000
MESSAGES = 400
"""Per file: so many a host sends in some minutes."""
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the client gives it."""

    text: bytes
    at: int

    def partition(self) -> int:
        """Return it."""
        return 0

    def offset(self) -> int:
        """Return it."""
        return self.at

    def timestamp(self) -> tuple[int, int]:
        """Return it."""
        return 2, NOON + self.at

    def headers(self) -> None:
        """Return it."""

    def key(self) -> bytes:
        """Return it."""
        return b"host"

    def value(self) -> bytes:
        """Return it."""
        return self.text


def messages() -> Iterator[bytes]:
    """Yield the batches of all recordings."""
    for path in sorted(RECORDINGS.glob("*.avro.xz")):
        with io.BufferedReader(io.BytesIO(lzma.decompress(path.read_bytes()))) as file:
            yield from map(encode_batch, read_open_recording(file, path))


def main() -> None:
    """Print the figures."""
    found = [Message(text, at) for at, text in enumerate(messages())]
    plain = sum(len(each.text) for each in found)
    topic = sum(len(bytes(cramjam.zstd.compress(each.text, 3))) for each in found)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        files = open_folder(folder)
        intake = Intake(files, Message.value, print, limit_bytes=64 * MIB, flush_seconds=1e9)
        began = time.process_time()
        for number, message in enumerate(found, 1):
            intake.take("events", message, 0.0)
            if number % MESSAGES == 0:
                list(intake.store_all())
        list(intake.store_all())
        stored = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        events = intake.counts.events
        print(f"{events:,} events in {len(found):,} messages, {intake.counts.files} files")
        print(f"bytes per event: {plain / events:.1f} as messages, {topic / events:.1f} on the topic,")
        print(f"  {intake.counts.stored_bytes / events:.1f} archived ({intake.counts.stored_bytes / topic:.2f} times)")
        print(f"CPU per million events: {stored / events * 1e6:.1f} s; memory: {peak >> 10} MiB more than before")
        upkeep = Upkeep(files, print, max_days=0, max_bytes=0)
        began = time.process_time()
        upkeep.look(NOON + 2 * HOUR_MS)
        merging = time.process_time() - began
        upkeep.look(NOON + 2 * HOUR_MS)
        size = upkeep.counts.bytes
        print(
            f"merged into {upkeep.counts.files} files: {size / events:.1f} bytes per event ({size / topic:.2f} times),"
        )
        print(f"  {merging / events * 1e6:.1f} s of CPU per million events")
        began = time.process_time()
        again = sum(each.batch.count for each in ArchiveStore(files, ignore_note).batches(EventRange(0), lambda: False))
        print(f"read back: {again:,} events, {(time.process_time() - began) / events * 1e6:.1f} s per million events")


if __name__ == "__main__":
    main()
