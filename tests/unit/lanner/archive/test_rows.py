"""Rows of events, and the batches that are made of them again."""

import io
import lzma
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanner.archive.alerts import ArchivedAlert, alert_rows, restored_alerts
from lanner.archive.restored import head_rows, restored_batches
from lanner.archive.rows import ArchivedBatch, tables
from lanner.archive.schema import (
    ALERTS,
    BATCHES,
    CONTAINER,
    EVENTS,
    FILE,
    MAX_ANCESTORS,
    MAX_RELATIVES,
    MOUNTS,
    PROCESS,
    archived_text,
    restored_text,
)
from lanner.recorder.store import StoredBatch
from processor.fields.expressions import ANCESTRY, BOTH_ENDS, PLAIN, SEVERAL
from processor.fields.extract import extract
from schemas.alert import Alert, Repeats, Value, Window, decode_alert, encode_alert
from schemas.batch import (
    EVENT_COLUMNS,
    Container,
    EventBatch,
    Mount,
    NetworkServer,
    Process,
    ProgramFile,
    empty_columns,
)
from schemas.catalog.fields import resolve_field
from schemas.encoding.recording import read_open_recording
from tests.unit.alerts import alert
from tests.unit.schemas.batches import TEXT, batches

RECORDING = Path(__file__).parents[3] / "recordings" / "ordinary" / "containers.avro.xz"
WITH_ARGUMENTS = (
    *("evt.arg[0]", "evt.arg[1]", "evt.rawarg[0]", "evt.abspath[dst]", "proc.aname[1]", "proc.aname[2]"),
    *("proc.aexepath[1]", "proc.acmdline[3]", "proc.args[0]", "container.mount[0]", "container.mount.dest[0]"),
)
FIELDS = tuple(
    name for name in (*sorted({*PLAIN, *ANCESTRY, *BOTH_ENDS, *SEVERAL}), *WITH_ARGUMENTS) if resolve_field(name)
)


def archived(batch: EventBatch, offset: int = 0) -> ArchivedBatch:
    """Return a batch as a topic has it."""
    return ArchivedBatch(StoredBatch(batch, 1_700_000_000_000, 5, 77), 3, offset)


def written(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table after it was in a file. Its types are those of the schema."""
    file = io.BytesIO()
    pq.write_table(table, file, store_schema=False)
    found = pq.read_table(file)
    assert found.schema.equals(schema)
    return found


def again(batches_: Sequence[ArchivedBatch]) -> list[ArchivedBatch]:
    """Return batches after they were in a file."""
    parts = [written(table, EVENTS) for table in tables(batches_)]
    rows = pa.concat_tables([EVENTS.empty_table(), *parts])
    return list(restored_batches(rows, written(head_rows(batches_), BATCHES)))


def values(batch: EventBatch) -> list[dict[str, object]]:
    """Return the values of all fields of all events."""
    return [{name: extract(batch, index, name) for name in FIELDS} for index in range(batch.count)]


def servers(batch: EventBatch) -> list[NetworkServer | None]:
    """Return what listens in the process of each event."""
    return [batch.processes[row].server for row in batch.columns["process"]]


@given(st.lists(batches(), min_size=1, max_size=2))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_field_of_an_event_is_equal_after_it_was_a_row(found: list[EventBatch]) -> None:
    """For any batches, and what their headers state too."""
    stored = [archived(batch, offset) for offset, batch in enumerate(found)]

    for meant, after in zip(stored, again(stored), strict=True):
        batch = after.stored.batch
        assert values(batch) == values(meant.stored.batch)
        assert batch.total == meant.stored.batch.total
        assert servers(batch) == servers(meant.stored.batch)
        assert (after.offset, after.partition, after.stored.offset, after.stored.size) == (meant.offset, 3, 5, 77)
        for name in ("host_id", "sequence", "lost", "addresses", "cpu_seconds", "first_index", "created", "kernel"):
            assert getattr(batch, name) == getattr(meant.stored.batch, name)


@given(TEXT | st.text(st.characters(min_codepoint=0x10FF00), max_size=4))
def test_any_text_is_valid_in_a_file_and_restored_from_it(text: str) -> None:
    """Also bytes that aren't UTF-8, and the characters that stand for them."""
    assert archived_text(text).encode("utf-8").decode() == archived_text(text)
    assert restored_text(archived_text(text)) == text


def test_rows_are_ordered_by_host_and_time_and_a_long_line_is_cut() -> None:
    """A host may send a line of a thousand processes for each of its events."""
    line = [Process(pid=row, parent=row - 1, session_leader=0, group_leader=max(row - 1, 0)) for row in range(1000)]
    columns = empty_columns()
    for time in (30, 10, 20):
        for name in EVENT_COLUMNS:
            value = {"time": time, "process": 999}.get(name, 0)
            columns[name].append(value)
        columns["arg_start"].append(0)
    head: tuple[str, str, str, int, int, int, str, str, int] = ("b", "web", "boot", 0, 1, 5, "1", "6", 0)
    hostile = EventBatch(*head, 3, [None], line, [], dict(columns))
    stored = [archived(hostile, 1), archived(replace(hostile, host_id="a"), 2)]
    table = pa.concat_tables(tables(stored))

    assert table["host_id"].to_pylist() == [*"aaabbb"]
    assert table["time"].cast(pa.int64()).to_pylist() == [10, 20, 30] * 2
    assert [len(each) for each in table["ancestors"].to_pylist()] == [MAX_ANCESTORS] * 6
    assert max(len(each) for each in table["relatives"].to_pylist()) <= MAX_RELATIVES
    after = again(stored)[0].stored.batch
    assert list(after.columns["time"]) == [30, 10, 20]
    assert after.processes[-1].pid == 999
    (alone, _) = restored_batches(table, BATCHES.empty_table())
    assert (alone.offset, alone.stored.batch.created, list(alone.stored.batch.columns["time"])) == (1, 30, [30, 10, 20])


def test_alerts_are_equal_after_they_were_rows() -> None:
    """Plain ones, those of stateful rules, and summaries."""
    values: dict[str, Value] = {
        "evt.num": 2**63 - 1,
        "proc.name": "x\udce9",
        "proc.env": ("a", "b"),
        "x": None,
        "y": True,
        "z": 0.5,
    }
    window = Window(3, 1, 2, {"user.uid": 0}, ("one",), {"first": values})
    made = [
        alert(),
        alert(output_fields=values, event=values, window=window, tags=("T1059", "x")),
        alert(time=-1, repeats=Repeats("id", 2, 1, 2, 60), rule="x\U0010ffff", cluster_name="blue"),
    ]
    meant = [decode_alert(encode_alert(each)) for each in made]
    rows = alert_rows([ArchivedAlert(each, 1_700_000_000_000, 0, 7 + at) for at, each in enumerate(meant)])

    assert list(restored_alerts(written(rows, ALERTS))) == meant


def test_recorded_events_have_equal_fields_after_they_were_rows() -> None:
    """With the facts about programs and containers that the made-up ones lack."""
    with io.BufferedReader(io.BytesIO(lzma.decompress(RECORDING.read_bytes()))) as file:
        recorded = next(each for each in read_open_recording(file, RECORDING) if each.containers)
    program = ProgramFile("0" * 64, "dropped", "bash", "5.2", "curl", "root", 5, None)
    processes = [replace(each, file=program, script=replace(program, path="/a.sh")) for each in recorded.processes]
    batch = replace(recorded, processes=processes)
    shown = batch.count // 20
    (after,) = again([archived(batch)])

    for index in range(0, batch.count, max(shown, 1)):
        for name in FIELDS:
            assert extract(after.stored.batch, index, name) == extract(batch, index, name), name


def test_every_attribute_has_a_column() -> None:
    """One that is added to a batch and not to the archive would be lost."""
    assert set(PROCESS) == {"row", *(each.name for each in fields(Process))}
    assert set(CONTAINER) == {each.name for each in fields(Container)} - {"pod"}
    assert {each.name for each in FILE} == {each.name for each in fields(ProgramFile)}
    assert {each.name for each in MOUNTS.value_type} == {each.name for each in fields(Mount)}
    assert set(ALERTS.names) >= {each.name for each in fields(Alert)}
