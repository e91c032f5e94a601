"""Hunt in a large archive: wall time, processor time and memory of `lanner hunt` over 90 days and 100 million events.

    python -m bench.hunts /srv/space                    # 8 GB, removed afterwards unless --retain
    python -m bench.hunts /srv/space --days 9           # a tenth
    python -m bench.hunts /srv/space --clickhouse PYTHON  # an interpreter that has chdb, ClickHouse as a library

What the archive has: the recordings of ordinary work of the tests, 422,433 events. Each recording is a host; its
batches are spread over nine hours, and an intake and its upkeep store and merge them as `lanner archive` does. The nine
merged files are then multiplied, one for each hour: with later times and offsets, other host names and ids, and other
process ids, in the same columns, row groups and order. Texts repeat from day to day, but in three hours a program, an
address and a digest occur that no other hour has.

Beside it: DuckDB and ClickHouse on the same files, and on JSON lines of one day's events with ten fields; and `lanner
replay`, which evaluates a rule on each event, on three hours.
"""

import argparse
import io
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.archive import MIB, RECORDINGS, Message
from bench.spliced import ParquetBytes, parquet_bytes, spliced
from lanner.archive.files import (
    HOUR_MS,
    ArchiveFile,
    ArchiveFiles,
    dictionaries,
    end_of,
    file_name,
    folder_of,
    hour_of,
    open_folder,
    store,
)
from lanner.archive.intake import Intake
from lanner.archive.upkeep import Upkeep
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import read_open_recording

START = 1_790_812_800_000
"""Midnight, 1 October 2026, UTC; ms since the epoch."""
TEMPLATES = 9
"""Hours that the recordings are spread over."""
BYTES_OF_DAY = 90 << 20
FLEETS = 3
"""Days after which the names of hosts occur again."""
PROGRAM, ADDRESS, DIGEST = "xmrig", "203.0.113.99", "5f" * 32
"""What only a few hours have."""
_RARE_HOURS = (0.2, 0.5, 0.9)
"""Where they are, as shares of the time."""
HUNTS: dict[str, tuple[str, ...]] = {
    "program and address": (f"proc.name = {PROGRAM} and fd.rip = {ADDRESS}", "--count"),
    "digest": (f"proc.exe.sha256 = {DIGEST}", "--count"),
    "count of each program": ("evt.type exists", "--group-by", "proc.name", "--count"),
    "rare programs": ("evt.type exists", "--group-by", "proc.exepath", "--rare", "2"),
    "shells below servers": (
        "evt.type = execve and proc.name in (sh, bash, dash) and proc.aname in (nginx, httpd, postgres)",
        *("--group-by", "proc.cmdline"),
    ),
    "decided by the engine": (f"evt.type = connect and proc.name = {PROGRAM} and not evt.info contains nothing",),
}
_SELECTED = f"SELECT count(*) FROM {{}} WHERE proc_name = '{PROGRAM}' AND remote_ip = '{ADDRESS}'"  # noqa: S608
_COUNTED = "SELECT proc_name, count(*) FROM {} GROUP BY proc_name ORDER BY 2 DESC LIMIT 10"
_LINES = (
    "SELECT time, hostname, type, proc_name, proc_exepath, proc_pid, proc_user, remote_ip, "
    "proc_file.sha256 AS sha256, array_to_string(proc_args, ' ') AS args"
)


def _hours() -> Iterator[tuple[int, Message]]:
    """Yield the messages of all recordings, each with its time: a recording's are spread over the hours."""
    found: list[tuple[int, int, Any]] = []
    for host, path in enumerate(sorted(RECORDINGS.glob("*.avro.xz"))):
        with io.BufferedReader(io.BytesIO(lzma.decompress(path.read_bytes()))) as file:
            batches = list(read_open_recording(file, path))
        for at, batch in enumerate(batches):
            appended = START + HOUR_MS * TEMPLATES * at // len(batches)
            batch.hostname, batch.host_id = f"host-0{host:02}", f"{host:031x}0"
            _move(batch, appended * 1_000_000)
            found.append((appended, host, batch))
    for number, (appended, _, batch) in enumerate(sorted(found, key=lambda each: each[:2])):
        yield appended, Message(encode_batch(batch), number)


def _move(batch: Any, created: int) -> None:
    """Change a batch's times so that it is made at this one, ns since the epoch."""
    by = created - batch.created
    batch.created, batch.sent = created, batch.sent + by if batch.sent else 0
    batch.columns["time"] = array("q", (each + by for each in batch.columns["time"]))


@dataclass(frozen=True, slots=True)
class _Stamped:
    """A message with the broker's time."""

    message: Message
    appended: int

    def timestamp(self) -> tuple[int, int]:
        """Return it."""
        return 2, self.appended

    def __getattr__(self, name: str) -> Any:
        """Return what the message has."""
        return getattr(self.message, name)


def make_templates(files: ArchiveFiles) -> int:
    """Store and merge the hours of the recordings; return how many events they have."""
    intake = Intake(files, Message.value, print, limit_bytes=64 * MIB, flush_seconds=1e9)
    for number, (appended, message) in enumerate(_hours()):
        intake.take("events", _Stamped(message, appended), 0.0)
        if number % 80 == 0:
            list(intake.store_all())
    list(intake.store_all())
    upkeep = Upkeep(files, print, max_days=0, max_bytes=0)
    for _ in range(2):
        upkeep.look(START + (TEMPLATES + 1) * HOUR_MS)
    return intake.counts.events


@dataclass(frozen=True, slots=True)
class _Template:
    """A merged file, in memory."""

    file: ArchiveFile
    end: int
    whole: ParquetBytes
    groups: tuple[pa.Table, ...]
    """The columns that change from hour to hour, by row group."""


def _read(files: ArchiveFiles, file: ArchiveFile) -> _Template:
    opened = pq.ParquetFile(file.path, read_dictionary=dictionaries(pq.read_schema(file.path)))
    changed = [
        name
        for name in (*_CHANGED, *_RARE)
        if any(name.partition(".")[0] == each for each in opened.schema_arrow.names)
    ]
    groups = tuple(opened.read_row_group(at, columns=changed) for at in range(opened.num_row_groups))
    return _Template(file, end_of(files, file), parquet_bytes(Path(file.path).read_bytes()), groups)


_CHANGED = (
    *("time", "appended", "offset", "hostname", "host_id", "boot_id", "collector_start"),
    *("thread", "proc_pid", "proc_ppid", "ancestors.list.element.pid"),
)
_RARE = ("proc_name", "remote_ip", "proc_file.sha256")


def multiply(source: ArchiveFiles, target: ArchiveFiles, hours: int) -> int:
    """Write the files of so many hours; return the number of events."""
    rare = {int(share * hours) for share in _RARE_HOURS}
    found = {name: [_read(source, each) for each in source.select(name)] for name in ("events", "batches")}
    events = offset = 0
    with tempfile.TemporaryDirectory(dir=target.root) as folder:
        part = open_folder(folder)
        for hour in range(hours):
            for name, templates in found.items():
                made = templates[hour % len(templates)]
                by = START + hour * HOUR_MS - made.file.hour
                rows = [_later(each, hour, by, offset - made.file.first, is_rare=hour in rare) for each in made.groups]
                end = offset + made.end - made.file.first
                appended = made.file.appended + by
                store(part, name, (0, offset, end), appended, rows)
                (written,) = part.all(name)
                changed = Path(written.path)
                text = changed.read_bytes()
                file = Path(target.root, name, folder_of(hour_of(appended)), file_name(0, offset, appended, end))
                file.parent.mkdir(parents=True)
                with file.open("wb") as out:
                    metadata = pq.read_metadata(changed).metadata
                    out.writelines(spliced(made.whole, parquet_bytes(text), metadata))
                changed.unlink()
                events += sum(each.num_rows for each in rows) if name == "events" else 0
            offset = end
            if hour % 240 == 0:
                print(f"  {hour}/{hours} hours", file=sys.stderr, flush=True)
    return events


def _later(rows: pa.Table, hour: int, by: int, offset: int, *, is_rare: bool) -> pa.Table:
    """Return rows of a later hour. by: ms; offset: what is added to that of messages."""
    fleet, pids = hour // 24 % FLEETS, hour * 100
    changed: dict[str, Callable[[Any], pa.Array]] = {
        "appended": lambda column: _plus(column, by),
        "time": lambda column: _plus(column, by * 1_000_000),
        "collector_start": lambda column: _plus(column, by * 1_000_000),
        "offset": lambda column: _plus(column, offset),
        "proc_pid": lambda column: _plus(column, pids),
        "proc_ppid": lambda column: _plus(column, pids),
        "thread": lambda column: _plus(column, pids),
        "ancestors": lambda column: _with_pids(column, pids),
        "hostname": lambda column: _replaced(column, lambda text: f"host-{fleet}{text[-2:]}"),
        "host_id": lambda column: _replaced(column, lambda text: f"{text[:-1]}{fleet}"),
        "boot_id": lambda column: _replaced(column, lambda text: f"{hour // 24:08x}{text[8:]}"),
    }
    rare: dict[str, Callable[[Any], pa.Array]] = {
        "proc_name": lambda column: _replaced(column, lambda text: PROGRAM if text == "curl" else text),
        "remote_ip": lambda column: _replaced(column, lambda text: ADDRESS if text == "127.0.0.1" else text),
        "proc_file": _with_digest,
    }
    if not is_rare:
        rows = rows.drop_columns([each for each in rare if each in rows.column_names])
    for name, change in (changed | rare).items():
        if name in rows.column_names:
            rows = rows.set_column(rows.schema.get_field_index(name), name, change(rows[name].combine_chunks()))
    return rows


def _plus(column: pa.Array, by: int) -> pa.Array:
    return pc.add(column.cast(pa.int64()), by).cast(column.type)


def _replaced(column: Any, change: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    texts = pa.array([None if each is None else change(each) for each in column.dictionary.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(column.indices, texts)


def _fields(column: pa.StructArray, **changed: Any) -> pa.StructArray:
    names = [column.type.field(at).name for at in range(column.type.num_fields)]
    values = [changed[name](column.field(name)) if name in changed else column.field(name) for name in names]
    return pa.StructArray.from_arrays(values, names, mask=column.is_null())


def _with_pids(column: pa.ListArray, by: int) -> pa.ListArray:
    inner = _fields(column.values, pid=lambda pids: _plus(pids, by))
    return pa.ListArray.from_arrays(column.offsets, inner, mask=column.is_null() if column.null_count else None)


def _with_digest(column: pa.StructArray) -> pa.StructArray:
    def change(digests: pa.Array) -> pa.Array:
        first = next((each for each in digests.dictionary.to_pylist() if each), None)
        return _replaced(digests, lambda text: DIGEST if text == first else text)

    return _fields(column, sha256=change)


def _measured(name: str, command: Sequence[str]) -> None:
    """Run a command; print its wall time, its processor time and its memory."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as out:
        running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(running.pid, 0)
        took = time.monotonic() - began
        out.seek(0)
        lines = out.read().decode(errors="replace").splitlines()
    cpu = used.ru_utime + used.ru_stime
    state = "" if status == 0 else f"  FAILED: {lines[-1:]}"
    print(f"{name:<40} {took:7.1f} s {cpu:7.1f} s of CPU {used.ru_maxrss >> 10:6,} MiB{state}", flush=True)


def _hunts(archive: Path) -> None:
    for name, text in HUNTS.items():
        times = ("--since", "2026-10-01T00:00:00+00:00", "--until", "2027-06-01T00:00:00+00:00")
        command = (sys.executable, "-m", "lanner", "hunt", *text, "--file", str(archive), *times)
        _measured(f"lanner hunt: {name}", command)


def _others(archive: Path, clickhouse: str | None) -> None:
    """Print what others need for the same."""
    lines = archive.parent / "day.json"
    pattern = f"'{archive}/events/*/*/*.parquet'"
    source = f"'{archive}/events/date=2026-10-01/*/*.parquet'"
    copy = f"COPY ({_LINES} FROM {source}) TO '{lines}'"
    _measured("DuckDB: write JSON lines of one day", (sys.executable, "-c", f"import duckdb; duckdb.execute({copy!r})"))
    print(f"{lines.stat().st_size >> 20:,} MiB of JSON lines")
    for what, query in (("selected", _SELECTED), ("counted", _COUNTED)):
        on_lines = query.format(f"'{lines}'")
        for name, text in ((f"{what}, the files", query.format(pattern)), (f"{what}, JSON of one day", on_lines)):
            code = f"import duckdb; c = duckdb.connect(config={{'threads': 2}}); print(c.sql({text!r}).fetchall())"
            _measured(f"DuckDB: {name}", (sys.executable, "-c", code))
            if clickhouse is not None:
                kind = "Parquet" if name.endswith("files") else "JSONEachRow"
                place = pattern if name.endswith("files") else f"'{lines}'"
                asked = query.format(f"file({place}, {kind}) ") + " SETTINGS max_threads = 2"
                _measured(f"ClickHouse: {name}", (clickhouse, "-c", f"import chdb; print(chdb.query({asked!r}))"))
    rule = archive.parent / "rule.yaml"
    rule.write_text(
        f"- {{rule: R, desc: d, condition: proc.name = {PROGRAM} and fd.rip = {ADDRESS}, output: o, priority: INFO}}\n"
    )
    times = ("--since", "2026-10-01T00:00:00+00:00", "--until", "2026-10-01T03:00:00+00:00")
    command = (sys.executable, "-m", "lanner", "replay", str(archive), *times, "--rules", str(rule))
    _measured("lanner replay: three hours", command)


def _make(root: Path, days: int) -> None:
    began = time.monotonic()
    for name in ("archive", "templates"):
        (root / name).mkdir(parents=True)
    templates = open_folder(str(root / "templates"))
    print(f"{make_templates(templates):,} events of {len(list(RECORDINGS.glob('*.avro.xz')))} recordings", flush=True)
    events = multiply(templates, open_folder(str(root / "archive")), days * 24)
    print(f"multiplied to {events:,} events of {days} days in {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    """Make the archive, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/hunts"), help="where there is space")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--clickhouse", metavar="PYTHON", help="an interpreter that has chdb")
    parser.add_argument("--retain", action="store_true", help="leave the archive there, and use the one that is there")
    chosen = parser.parse_args()
    root = chosen.folder.absolute() / "lanner-hunts"
    archive = root / "archive"
    if not (chosen.retain and archive.exists()):
        needed = chosen.days * BYTES_OF_DAY
        chosen.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(chosen.folder).free < needed * 5 // 4:
            sys.exit(
                f"{chosen.folder} has less than {needed * 5 // 4 >> 30} GiB left: name another folder, or less --days."
            )
        # A program that is started states at least the memory of what started it.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(_make, root, chosen.days).result()
    try:
        print(f"load: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        _hunts(archive)
        _others(archive, chosen.clickhouse)
    finally:
        if not chosen.retain:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
