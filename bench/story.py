"""Measure the story of an alert on a busy host: `python -m bench story`.

The host sends 20,000 events a second of other work for three minutes, in batches of 2,000. The alert is of a shell in a
container that is older than the collector; its event is there, or it was lost. The time is that from reading the
recording to the JSON of the page.
"""

import tempfile
import time
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lanner.console.store.reading import AlertReader
from lanner.console.store.view import AlertView, ViewLimits
from lanner.console.story.forms import story_json
from lanner.console.story.reading import EventArchive, StoryReader
from lanner.recorder.recording import RecordingStore
from lanner.recorder.store import ReadBudget
from processor.output.redaction import Redaction
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter
from tests.unit.alerts import alert
from tests.unit.lanner.recorder.tree.test_family import CAT, SHELL, busy_host
from tests.unit.processor.batches import TIME

BATCHES, SECONDS, BEFORE, ROUNDS = 1800, 180, 120, 5
OTHERS = 2_000
"""Events of other work in each batch."""
PROGRAMS = 50
"""Processes that do it."""
READ = 2_000_000
"""When the file is read in each batch, ns after its beginning."""
_STEP = SECONDS * 10**9 // BATCHES


def main() -> None:
    """Print the time of a story, and how many events were read for it."""
    with tempfile.TemporaryDirectory(prefix="lanner-bench-") as name:
        folder = Path(name)
        (folder / "kept").mkdir()
        writer = RecordingWriter(folder / "kept" / "1.avro")
        count = 0
        for batch in _batches():
            writer.write(encode_batch(batch))
            count = batch.count
        writer.close()
        AlertView(folder / "alerts.db", ViewLimits(alerts=10)).close()
        archive = EventArchive(RecordingStore(folder / "kept"), "")
        reader = StoryReader(archive, AlertReader(folder / "alerts.db"), Redaction())
        print(f"{BATCHES * count:,} events\n| the event of the alert | lowest | highest |\n|---|---|---|")
        for text, at in (("is there", BATCHES * BEFORE // SECONDS), ("was lost", -1)):
            event = {"evt.num": at * count + OTHERS + 2, "proc.pid": CAT, "proc.ppid": SHELL}
            about = alert(time=TIME + BEFORE * 10**9 + READ, host_id="host-1", event=event)
            taken = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                story_json(reader.story(about, BEFORE * 10**9, (SECONDS - BEFORE) * 10**9, ReadBudget()), "")
                taken.append(time.perf_counter() - began)
            print(f"| {text} | {min(taken):.2f} s | {max(taken):.2f} s |", flush=True)


def _batches() -> Iterator[EventBatch]:
    busy = busy_host(OTHERS, PROGRAMS)
    times = busy.columns["time"]
    for number in range(BATCHES):
        later = number * _STEP
        yield replace(
            busy,
            columns={**busy.columns, "time": array("q", (each + later for each in times))},
            created=TIME + later + READ,
            first_number=1 + number * busy.count,
            sequence=number,
        )


if __name__ == "__main__":
    main()
