"""Hunts over events: rows, groups, counts and timelines, from Parquet files and from recordings."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from pyarrow import parquet
from sqlglot import exp

from lanner import hunt
from lanner.archive.files import file_name, folder_of, hour_of, open_folder
from lanner.errors import BadInput
from lanner.hunting.hunt import Hunt, within
from lanner.hunting.results import HuntResult
from lanner.hunting.results import rows_of as values_of
from lanner.hunting.sources import ArchiveSource, Chunk, RowSource, Stop, StoreSource
from lanner.recorder.recording import RecordingStore
from lanner.recorder.search import SearchCondition, compile_search
from lanner.recorder.store import EventRange
from processor.compiler.batch import compile_rules
from processor.language.ast import Node
from processor.loading import read_rule_files
from schemas.batch import EventBatch, Process
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter
from tests.unit.lanner.hunting.test_conditions import found_by_engine, more, rows_of
from tests.unit.lanner.program import lanner
from tests.unit.processor.batches import INIT, TIME, batch_of
from tests.unit.processor.compiler.test_against_interpreter import batches, condition

MINUTE = 60_000_000_000
_ARGS = ("-c", "login --token s3cret")
SHELL = Process(pid=7, name="bash", exe="bash", exepath="/usr/bin/bash", args=_ARGS, user="eve", parent=0)


def stored() -> list[EventBatch]:
    """Return two batches of two hosts: five executions and an opened file."""
    run = {"type": "execve", "res": 0}
    return [
        batch_of(
            {**run, "process": 1}, {**run, "process": 1, "time": TIME + MINUTE, "repeats": 2}, {**run, "process": 0},
            processes=[INIT, SHELL],
        ),
        batch_of(
            {**run, "process": 1, "time": TIME + 2 * MINUTE},
            {"type": "openat", "fd_name": "/etc/hosts", "fd_type": "file", "res": -2, "process": 1},
            processes=[INIT, SHELL], host_id="host-2", hostname="web-4",
        ),
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of an archive that has them."""
    rows = rows_of(stored())
    hour = hour_of(TIME // 1_000_000)
    file = tmp_path / "archive/events" / folder_of(hour) / file_name(0, 0, hour)
    file.parent.mkdir(parents=True)
    (tmp_path / "archive/batches").mkdir()
    parquet.write_table(rows, file)
    return tmp_path / "archive"


@pytest.fixture(params=["archive", "recording"])
def source(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> RowSource:
    """Return each kind of source."""
    if request.param == "archive":
        return ArchiveSource(open_folder(str(folder)))
    writer = RecordingWriter(tmp_path / "events.avro")
    for batch in stored():
        writer.write(encode_batch(batch))
    writer.close()
    return StoreSource(RecordingStore(tmp_path / "events.avro"))


def hunted(source: RowSource, text: str, events: EventRange | None = None, **result: object) -> list[list[object]]:
    """Return the rows of a hunt, without the times at which groups were seen."""
    prepared = Hunt(compile_search(text, ()), HuntResult(**result))  # type: ignore[arg-type]
    found: pa.Table = prepared.run(source, events or EventRange(TIME // 1_000_000), lambda: False, lambda _: None)
    return list(values_of(found.drop_columns([each for each in found.column_names if each.endswith("_seen")])))


@pytest.mark.parametrize(
    "text",
    [
        "evt.type = execve",
        "evt.type = execve and not fd.name glob 'x?[a-c]'",
        "evt.type = execve and not evt.info contains XYZ",
    ],
)
def test_events_are_counted_by_groups(source: RowSource, text: str) -> None:
    """Whether SQL or the engine decides; an event counts for those that it stands for."""
    assert hunted(source, text, count=True) == [[6]]
    assert hunted(source, text, group_by=("proc.name", "evt.hostname")) == [
        ["bash", "web-3", 4], ["bash", "web-4", 1], ["systemd", "web-3", 1]
    ]  # fmt: skip
    assert hunted(source, text, group_by=("proc.name",), rare=1) == [["systemd", 1, 1]]
    assert [row[1] for row in hunted(source, text, timeline=MINUTE)] == [2, 3, 1]


def test_several_tables_are_made_of_one_reading(source: RowSource) -> None:
    """As each alone, whether SQL or the engine decides."""
    for text in ("evt.type = execve", "evt.type = execve and not evt.info contains XYZ"):
        prepared = Hunt(compile_search(text, ()), HuntResult(fields=("proc.name", "evt.res"), limit=2))
        prepared.results += [
            HuntResult(timeline=MINUTE),
            HuntResult(group_by=("evt.hostname", "proc.name"), rarest_first=True),
        ]
        found = prepared.tables(source, EventRange(TIME // 1_000_000), lambda: False, lambda _: None)
        assert [row[1:] for row in values_of(found[0])] == [["bash", "SUCCESS"]] * 2
        assert found[1]["events"].to_pylist() == [2, 3, 1]
        assert [row[:3] for row in values_of(found[2])] == [
            ["web-3", "systemd", 1], ["web-4", "bash", 1], ["web-3", "bash", 4]
        ]  # fmt: skip


def test_a_hunt_that_is_stopped_while_the_engine_decides_has_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within the events that are read together."""
    monkeypatch.setattr("lanner.hunting.hunt._ROWS", 2)
    answers = iter([False, False, True])
    prepared = Hunt(compile_search("evt.info contains a or evt.type exists", ()), HuntResult(count=True))
    found = prepared.run(_Rows(stored()), EventRange(0), lambda: next(answers, True), lambda _: None)
    assert 0 < found["events"][0].as_py() < 7


def test_first_and_last_events_of_groups(source: RowSource) -> None:
    """With fields that SQL states, and some that only the engine reads."""
    found = hunted(
        source, "evt.type = execve", edge="last", group_by=("evt.hostname",), fields=("proc.name", "evt.res")
    )
    assert [row[1:] for row in found] == [["web-4", "bash", "SUCCESS"], ["web-3", "bash", "SUCCESS"]]
    ((first, _),) = hunted(source, "proc.name = bash", edge="first", fields=("proc.pid",))
    assert first == "2026-11-24T14:31:30.479846943Z"


class _Rows:
    """A source that has some batches."""

    def __init__(self, batches: list[EventBatch]) -> None:
        self.remarks: list[str] = []
        self.rows = rows_of(batches)

    def chunks(self, *_: object) -> list[Chunk]:
        """Return them."""
        return [Chunk(self.rows)]


@settings(max_examples=15, deadline=None)
@given(condition | more, batches())
def test_sql_and_the_engine_find_what_the_engine_finds(node: Node, batch: EventBatch) -> None:
    """The engine decides on restored events, as it did on the originals."""
    compiled = compile_rules([node])
    (matches,) = found_by_engine([batch], compiled) or [set()]
    prepared = Hunt(SearchCondition(compiled, node), HuntResult(fields=("evt.num",)))
    found = prepared.run(_Rows([batch]), EventRange(0), lambda: False, lambda _: None)  # type: ignore[arg-type]

    assert sorted(found["evt.num"].to_pylist()) == sorted(batch.first_number + index for _, index in matches)


class _Listed(ArchiveSource):
    """An archive whose files change after they were listed."""

    def __init__(self, folder: Path, change: Callable[[], object]) -> None:
        super().__init__(open_folder(str(folder)))
        self._change = change

    def chunks(self, events: EventRange, stop: Stop) -> Iterator[Chunk]:
        """Yield them as they are listed."""
        found = list(super().chunks(events, stop))
        self._change()
        yield from found


@pytest.mark.parametrize("condition", ["evt.type exists", "evt.type exists and not evt.info contains XYZ"])
@pytest.mark.parametrize("damage", ["cut", "overwritten", "gone"])
def test_a_file_that_cannot_be_read_loses_its_own_events_alone(folder: Path, condition: str, damage: str) -> None:
    """The events of others are found once, whether SQL or the engine decides, and a remark names the file."""
    (file,) = folder.rglob("*.parquet")
    other = file.with_name(f"00009{file.name[5:]}")
    whole = file.read_bytes()
    other.write_bytes(whole)
    source = ArchiveSource(open_folder(str(folder)))
    assert hunted(source, condition, EventRange(0), count=True) == [[14]]
    changed = whole[:-100] if damage == "cut" else whole[:4] + bytes(4000) + whole[4004:]
    source = _Listed(folder, other.unlink if damage == "gone" else partial(other.write_bytes, changed))

    assert hunted(source, condition, EventRange(0), count=True) == [[7]]
    (remark,) = [each for each in source.remarks if "begins" not in each and "no events" not in each]
    assert str(other) in remark
    if damage == "cut":
        rows, _ = source.datasets(EventRange(0), lambda: False, folder)
        assert rows.count_rows() == 5
        assert str(other) in source.remarks[-1]
    assert ("it was merged or deleted" in remark) is (damage == "gone")


def test_a_file_that_somebody_else_wrote_loses_its_own_events_alone(folder: Path) -> None:
    """It has a column of another type, or lacks what each row has; a remark names the file and the column."""
    (file,) = folder.rglob("*.parquet")
    rows = parquet.read_table(file)
    texts = rows.set_column(0, "time", pa.array(["now"] * rows.num_rows))
    other, odd = file.with_name(f"00008{file.name[5:]}"), file.with_name(f"00009{file.name[5:]}")
    parquet.write_table(rows.drop_columns(["appended"]), other)
    parquet.write_table(texts, odd)
    source = ArchiveSource(open_folder(str(folder)))

    assert hunted(source, "evt.type exists and not evt.info contains XYZ", EventRange(0), count=True) == [[7]]
    assert [f"{each} could not be read" in "".join(source.remarks) for each in (other, odd)] == [True, True]
    assert any("appended is missing" in each for each in source.remarks)
    found, _ = source.datasets(EventRange(0), lambda: False, folder)
    assert found.count_rows() == 10
    assert "its column time has the type string" in source.remarks[-1]


@pytest.mark.parametrize(
    "text",
    [
        "proc.pname = systemd",
        "evt.type = execve and proc.aname in (systemd, x)",
        "evt.type = execve and ancestor(proc.exepath glob '/usr/*' and not proc.name = bash)",
        "proc.name = bash and fd.name exists and proc.pcmdline startswith systemd",
        "proc.aname glob 's?stemd'",
    ],
)
def test_ancestors_are_those_of_the_process(source: RowSource, text: str) -> None:
    """Also where only some of their columns are read, from an archive, or the engine decides."""
    batches = stored()
    (matches,) = found_by_engine(batches, compile_search(text, ()).compiled)
    expected = sum(1 + batches[number].columns["repeats"][index] for number, index in matches)

    assert expected
    assert hunted(source, text, count=True) == [[expected]]
    assert hunted(source, text, group_by=("proc.pname",)) == [["systemd", expected]]
    prepared = Hunt(compile_search(text, ()), HuntResult(count=True))
    prepared.results.append(HuntResult(group_by=("proc.pname",)))
    both = prepared.tables(source, EventRange(0), lambda: False, lambda _: None)
    assert [table["events"].to_pylist() for table in both] == [[expected]] * 2


def test_only_columns_and_parts_of_files_that_are_needed_are_read(folder: Path) -> None:
    """Ancestors are most of a file: hunts read none, or some attributes, and no part whose events can't match."""
    prepared = Hunt(
        compile_search("evt.type = execve and proc.pname = systemd", ()), HuntResult(group_by=("user.name",))
    )
    connection = duckdb.connect()
    (chunk,) = ArchiveSource(open_folder(str(folder))).chunks(EventRange(0), lambda: False)
    columns = prepared.columns_of(prepared._first_query(within(EventRange(0))))
    chunk.bind_columns(connection, "chosen", columns, exp.true())
    chunk.bind_columns(connection, "others", columns, exp.column("type").eq("mount"))

    assert {each for each in columns if each.startswith("ancestors")} == {"ancestors.name"}
    assert connection.sql("SELECT count(*) FROM chosen").fetchall() == [(5,)]
    assert connection.sql("SELECT count(*) FROM others").fetchall() == [(0,)]
    assert Hunt(compile_search("evt.info contains x and proc.name = x", ()), HuntResult()).reads_others is False
    assert Hunt(compile_search("evt.info contains x and ancestor(proc.args contains x)", ()), HuntResult()).reads_others


def test_columns_that_a_file_lacks_are_missing_values(folder: Path) -> None:
    """An earlier release wrote it, alone or beside one with all columns."""
    (file,) = folder.rglob("*.parquet")
    parquet.write_table(parquet.read_table(file, partitioning=None).drop_columns(["server_name"]), file)
    source = ArchiveSource(open_folder(str(folder)))
    assert hunted(source, "evt.type = execve and not tls.client.server_name exists", count=True) == [[6]]
    below = "proc.pname = systemd and evt.type = execve and not tls.client.server_name exists"
    assert hunted(source, below, count=True) == [[5]]
    for name in ("00000-00000000000000000000-1.parquet", "00009-00000000000000000000-1.parquet"):
        parquet.write_table(rows_of(stored()), other := file.with_name(name))
        for text, number in ((below, 10), ("evt.type = execve and not tls.client.server_name exists", 12)):
            assert hunted(source, text, count=True) == [[number]], name
        assert set(source.remarks) == {"The archive has no events."}
        other.unlink()


def test_times_and_hosts_are_chosen(source: RowSource) -> None:
    """The end of a time range does not belong to it."""
    later = TIME // 1_000_000 + 60_000
    assert hunted(source, "evt.type exists", EventRange(later), count=True) == [[4]]
    assert hunted(source, "evt.type exists", EventRange(0, later), count=True) == [[3]]
    assert hunted(source, "evt.type exists", EventRange(0, None, "web-4"), count=True) == [[2]]
    assert hunted(source, "proc.name = nobody", count=True) == [[0]]


def test_a_hunt_that_is_stopped_returns_what_it_found(folder: Path) -> None:
    """Here nothing; no error."""
    prepared = Hunt(compile_search("evt.type exists", ()), HuntResult(count=True))
    found = prepared.run(ArchiveSource(open_folder(str(folder))), EventRange(0), lambda: True, lambda _: None)
    assert found["events"].to_pylist() == [0]


def test_conditions_are_pushed_down_into_parquet(folder: Path) -> None:
    """The reader of files gets the comparisons, and reads only the columns that they and the result need."""
    connection = duckdb.connect()
    files = [str(each) for each in folder.rglob("*.parquet")]
    connection.read_parquet(files).create_view("chunk")
    prepared = Hunt(compile_search("evt.type = execve and proc.name = bash", ()), HuntResult(group_by=("user.name",)))
    plan = connection.execute(f"EXPLAIN {prepared.chunk_sql(EventRange(0))}").fetchall()[0][1]
    reading = plan[plan.index("PARQUET_SCAN") :]

    assert "type = 'execve'" in reading
    assert "proc_name = 'bash'" in reading
    assert "proc_cwd" not in reading


_RULES = """
- list: shells
  items: [bash, sh]
- macro: by_shell
  condition: proc.name in (shells) and not proc.aargs contains nothing
- macro: executed
  condition: evt.type in (execve, execveat)
"""


@pytest.mark.parametrize(
    ("text", "engine"),
    [
        ("executed and proc.name in (shells)", ()),
        ("by_shell", ("proc.aargs contains nothing",)),
        ("evt.type = execve and proc.pname = systemd", ()),
        ("ancestor(proc.name = systemd)", ()),
        ("ancestor(not proc.args contains x)", ()),
        ("evt.type = execve and not proc.aexepath[2] = x", ()),
        ("fd.name glob '/etc/*'", ()),
        ("fd.name glob '/etc/h[no]sts' or evt.type = execve", ("fd.name glob /etc/h[no]sts",)),
        ("evt.arg.flags exists or proc.name exists", ()),
        ("evt.info exists", ("evt.info exists",)),
        # Only on names that are not UTF-8.
        ("proc.cmdline regex 'bash.*' and evt.res = SUCCESS", ("proc.cmdline regex bash.*",)),
    ],
)  # fmt: skip
def test_what_is_explained_is_what_runs(tmp_path: Path, text: str, engine: tuple[str, ...]) -> None:
    """The engine evaluates events if a part of the condition is explained as its own, and otherwise none."""
    (tmp_path / "rules.yaml").write_text(_RULES)
    prepared = Hunt(compile_search(text, read_rule_files([tmp_path / "rules.yaml"])), HuntResult(count=True))
    explained = prepared.explained(EventRange(0))
    found = prepared.run(_Rows(stored()), EventRange(0), lambda: False, lambda _: None)  # type: ignore[arg-type]

    assert found["events"].to_pylist() != [0]
    assert prepared.sql.engine == engine
    assert ("SQL decides the whole condition." in explained) is (engine == ())
    assert (prepared.events > 0) is (engine != () and "regex" not in text)
    assert all(f"  {part}" in explained.splitlines() for part in engine)


def test_a_field_of_the_event_before_is_refused() -> None:
    """The events before those that match are not read."""
    with pytest.raises(BadInput, match="compares with the event before"):
        Hunt(compile_search("evt.deltatime > 5", ()), HuntResult())
    with pytest.raises(BadInput, match="no such field"):
        Hunt(compile_search("evt.num > 5", ()), HuntResult(group_by=("proc.nme",)))


def test_the_command_writes_each_format(folder: Path, tmp_path: Path) -> None:
    """Secrets are masked, in texts and in files."""
    where = ("--file", folder, "--since", "2020-01-01T00:00:00")
    listed = lanner("hunt", "proc.name = bash and fd.name exists", *where, "--format", "json")
    grouped = lanner("hunt", "proc.name = bash", *where, "--group-by", "proc.cmdline", "--format", "csv")
    by_sql = lanner("hunt", "--sql", "SELECT count(*) AS n, len(list(time)) AS t FROM events", *where)
    file = tmp_path / "found.parquet"
    listed_times = lanner("hunt", "--sql", "SELECT list(time) AS t FROM events", *where, "--format", "json")
    written = lanner("hunt", "proc.name = bash", *where, "--format", "parquet", "--output", file)
    explained = lanner("hunt", "proc.name = bash and proc.aargs contains x", "--explain")
    refused = lanner("hunt", "--sql", "SELECT * FROM read_csv('/etc/passwd')", *where)
    unknown = lanner("hunt", "proc.nme = bash", *where)
    reversed_times = lanner("hunt", "proc.name = bash", "--file", folder, "--since", "1h", "--until", "2h")
    grouped_sql = lanner("hunt", "--sql", "SELECT 1", "--group-by", "proc.name", *where)

    (row,) = map(json.loads, listed.stdout.splitlines())
    assert row["fd.name"] == "/etc/hosts"
    assert row["proc.cmdline"] == "bash -c login --token [redacted]"
    assert list(csv.reader(grouped.stdout.splitlines()))[1][:2] == ["bash -c login --token [redacted]", "6"]
    assert by_sql.stdout.splitlines() == ["n  t", "5  5"]
    assert "s3cret" not in file.read_bytes().decode("latin-1")
    assert written.returncode == 0
    assert len(json.loads(listed_times.stdout)["t"]) == 5
    assert "proc.aargs contains x" in explained.stdout
    assert "proc_name = 'bash'" in explained.stdout
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "error: --sql: READ_CSV('/etc/passwd') is not one of the views" in refused.stderr
    assert "did you mean 'proc.name'?" in unknown.stderr
    assert (reversed_times.returncode, reversed_times.stderr) == (1, "error: --until is before --since.\n")
    assert grouped_sql.returncode == 2
    assert "--sql takes no options of a result" in grouped_sql.stderr


def test_other_programs_hunt_too(folder: Path) -> None:
    """With the columns of fields, and secrets masked unless nothing is to be masked."""
    since = datetime.fromtimestamp(TIME // 1_000_000_000 - 1, UTC)
    found = hunt("proc.name = bash", folder, since=since, group_by=["proc.cmdline"])
    whole = hunt("proc.name = bash", folder, since=since, fields=["proc.cmdline"], edge="first", redact=())

    assert found.column("proc.cmdline").to_pylist() == ["bash -c login --token [redacted]"]
    assert found.column("events").to_pylist() == [6]
    assert whole.column("proc.cmdline").to_pylist() == ["bash -c login --token s3cret"]
