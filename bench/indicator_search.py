"""Measure searches of an archive for what a file of indicators has: by hand, and as `lanner archive` does by itself.

    python -m bench.indicator_search [EVENTS [SIZE …]]

The archive has the events of recordings of ordinary work, again and again at later times, in files of an hour. A third
of the entries of a file are networks, names and digests each; one of them is in the recordings. Each search is a
process of its own: its wall time, its processor time and its largest resident set.
"""

import lzma
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bench.indicators import _MAKERS
from foundation.text import ignore_note
from lanner.archive.files import HOUR_MS, open_folder, store
from lanner.archive.restored import head_rows
from lanner.archive.rows import ArchivedBatch, tables
from lanner.hunting.indicator_search import IndicatorSearch, SearchPorts
from lanner.hunting.new_matches import SearchedRule
from lanner.recorder.store import StoredBatch
from processor.detection.repeats import RepeatedAlerts
from processor.detection.stage import compile_ruleset
from processor.loading import RuleFile, load_rules
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.encoding.recording import read_recording

RECORDINGS = Path(__file__).parents[1] / "tests/recordings/ordinary"
NAMES = ("names", "containers", "packages", "nginx", "development", "postgresql")
SIZES = (10_000, 100_000, 1_000_000)
EVENTS = 3_000_000
_FOUND = "npm.example.com"
"""The entry that is in the recordings."""
_KINDS = {"networks of /24 to /32": "address", "names of 2 to 4 labels": "name", "SHA-256": "digest"}
_FIELDS = {"address": "fd.sip", "name": "dns.question.name", "digest": "proc.exe.sha256"}


def main(events: int, sizes: Sequence[int]) -> None:
    """Print a row for each size."""
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, whose memory isn't that of the searches.
        rows = int(_output("archive", folder, str(events)))
        size = sum(each.stat().st_size for each in Path(folder).rglob("*.parquet"))
        print(f"{rows:,} events, {size / 2**20:,.0f} MiB; load {os.getloadavg()[0]:.0f}\n")
        print("| entries | search | wall, s | processor, s | memory, MiB | found |\n|---|---|---|---|---|---|")
        for size in (3, *sizes):
            _feeds(Path(folder), size)
            hunt = ("lanner", "hunt", "--indicators", f"{folder}/feed.txt", "--file", folder, "--since", "4000d")
            print(f"| {size:,} | by hand | {_measured((*hunt, '--count', '--format', 'csv', '-q'))} |", flush=True)
            print(f"| {size:,} | by itself | {_measured(('bench.indicator_search', 'search', folder))} |", flush=True)


def _measured(module: Sequence[str]) -> str:
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", *module], stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    found = output.splitlines()[-1].partition(",")[0] if output else "-"
    processor = usage.ru_utime + usage.ru_stime
    return f"{time.monotonic() - began:.0f} | {processor:.1f} | {usage.ru_maxrss / 1024:,.0f} | {found}"


def _output(*arguments: str) -> str:
    command = [sys.executable, "-m", "bench.indicator_search", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _archive(folder: Path, events: int) -> int:
    """Write an archive with so many events, and return how many it has."""
    files = open_folder(str(folder))
    base = [StoredBatch(batch, batch.created // 1_000_000) for batch in _recorded(folder)]
    parts = [ArchivedBatch(each, 0, at) for at, each in enumerate(base)]
    first = max(each.appended for each in base) // HOUR_MS * HOUR_MS
    rows = pa.concat_tables([table.cast(table.schema) for table in tables(parts)], promote_options="permissive")
    heads, count = head_rows(parts), 0
    for hour in range(-(-events // max(rows.num_rows, 1))):
        appended = first + hour * HOUR_MS
        for dataset, table in (("events", rows), ("batches", heads)):
            moved = _moved(table, appended, hour * len(parts))
            store(files, dataset, (0, hour * len(parts), (hour + 1) * len(parts)), appended, [moved])
        count += rows.num_rows
    return count


def _recorded(folder: Path) -> Iterator[EventBatch]:
    for name in NAMES:
        path = folder / f"{name}.avro"
        path.write_bytes(lzma.decompress((RECORDINGS / f"{name}.avro.xz").read_bytes()))
        yield from read_recording(path)
        path.unlink()


def _moved(table: pa.Table, appended: int, offset: int) -> pa.Table:
    """Return rows as those of messages of another hour."""
    at = pa.scalar(appended, pa.timestamp("ms"))
    for name, values in (
        ("appended", pa.array([at.as_py()] * table.num_rows, table.schema.field("appended").type)),
        ("offset", pc.add(table["offset"], offset)),
    ):
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    if "time" in table.column_names:
        shift = pa.scalar(appended * 1_000_000, pa.int64())
        times = table["time"].cast(pa.int64())
        moved = pc.add(pc.subtract(times, pc.min(times)), shift).cast(table.schema.field("time").type)
        table = table.set_column(table.schema.get_field_index("time"), table.schema.field("time"), moved)
    return table


def _feeds(folder: Path, size: int) -> None:
    """Write a file of all kinds, and one of each."""
    whole = []
    for name, kind in _KINDS.items():
        make = _MAKERS[name][1]
        lines = [make(number) for number in range(max(size // 3, 1))] + [_FOUND] * (kind == "name")
        (folder / f"{kind}.txt").write_text("\n".join(lines))
        whole += lines
    (folder / "feed.txt").write_text("\n".join(whole))


def _search(folder: Path) -> None:
    """Search for all entries as `lanner archive` does, and print how many alerts that makes."""
    text = "".join(
        f"- indicators: {kind}\n  file: {folder}/{kind}.txt\n  kind: {kind}\n"
        f"- rule: Listed {kind}\n  desc: A listed value.\n"
        f"  condition: {field} in_indicators ({kind})\n  output: found\n  priority: CRITICAL\n"
        for kind, field in _FIELDS.items()
    )
    loaded = load_rules([RuleFile("rules.yaml", text)])
    rules = [SearchedRule(rule, compile_ruleset([rule], loaded.macros)) for rule in loaded.rules]
    alerts: list[Alert] = []
    ports = SearchPorts(lambda: rules, alerts.extend, RepeatedAlerts, lambda: False, lambda _: None, ignore_note)
    search = IndicatorSearch(open_folder(str(folder)), ports, days=4000, delay_ms=0)
    # The first look would only note the entries.
    search.state.put_progress(None)
    for each in folder.glob("indicators/*.known"):
        each.unlink()
    now = (_last_hour(folder) + 1) * HOUR_MS
    for later in (0, HOUR_MS):
        search.look(now + later)
    print(len(alerts))


def _last_hour(folder: Path) -> int:
    """Return the last hour of an archive, since the epoch."""
    return open_folder(str(folder)).select("events")[-1].hour // HOUR_MS


if __name__ == "__main__":
    if sys.argv[1:2] == ["search"]:
        _search(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["archive"]:
        print(_archive(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        numbers = list(map(int, sys.argv[1:]))
        main(numbers[0] if numbers else EVENTS, numbers[1:] or SIZES)
