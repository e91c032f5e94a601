"""Conditions as SQL agree with the engine: exactly if SQL decides, else as bounds."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanner.archive.rows import ArchivedBatch, tables
from lanner.archive.schema import EVENTS
from lanner.hunting.columns import DIALECT, field_column
from lanner.hunting.conditions import SqlCondition, to_sql
from lanner.recorder.search import compile_search
from lanner.recorder.store import StoredBatch
from processor.compiler.batch import Conditions, compile_rules
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.view import BatchView
from processor.fields.event import result_text
from processor.language.ast import Check, Field, Literal, Node, Transformer, ValueList
from processor.language.event_types import ALL_EVENT_TYPES
from schemas.batch import EventBatch, EventBit
from tests.unit.processor.batches import batch_of
from tests.unit.processor.compiler.test_against_interpreter import batches, condition

ROOT = Path(__file__).parents[4]
Hits = set[tuple[int, int]]

patterns = st.sampled_from(["[a-c]at", "/etc/(shadow|x)", "ba.*", ".*", "^b.+$", r"/[^/]+\.?", "a{2}"])
texts = st.sampled_from(["bash", "cat", "/etc/shadow", "/etc", "", "host", "é", "\udcc3", "%", "a_\\b", "\U0010ff80"])
text_fields = st.sampled_from(
    [
        Field("proc.name"),
        Field("fd.name"),
        Field("proc.args", "0"),
        Field("evt.path"),
        Field("proc.aname"),
        Field("fs.path.name"),
    ]
)
more: st.SearchStrategy[Node] = st.one_of(
    st.builds(Check, text_fields, st.just("regex"), patterns.map(Literal)),
    st.builds(
        Check,
        text_fields,
        st.sampled_from(["contains", "startswith", "<", ">=", "glob", "!=", "="]),
        texts.map(Literal),
    ),
    st.builds(
        Check,
        st.sampled_from([Field("evt.res"), Field("fd.num")]),
        st.sampled_from(["=", "!="]),
        st.sampled_from(["-1", "3", "ENOENT", "SUCCESS"]).map(Literal),
    ).filter(lambda check: check.left == Field("evt.res") or not check.right.text.isalpha()),
    st.builds(
        Check,
        st.sampled_from([Field("fd.net"), Field("fd.snet")]),
        st.sampled_from(["in", "=", "!="]),
        st.sampled_from(["10.0.0.0/8", "127.0.0.1/32", "10.0.0.0/29", "2001:db8::/32", "0.0.0.0/0"]).map(Literal),
    ),
    st.builds(
        Check,
        st.sampled_from(["tolower", "toupper", "basename"]).map(lambda name: Transformer(name, (Field("fd.name"),))),
        st.just("="),
        st.sampled_from(["shadow", "/ETC/SHADOW", "/etc"]).map(Literal),
    ),
    st.builds(
        Check,
        st.sampled_from([Field("fd.ip"), Field("fd.port")]),
        st.just("!="),
        st.sampled_from(["22", "80"]).map(lambda text: ValueList((Literal(text),))),
        st.sampled_from(["anyof", "allof", "oneof"]),
    ).filter(lambda check: check.left == Field("fd.port")),
)


def rows_of(given_batches: Sequence[EventBatch]) -> pa.Table:
    """Return the rows of batches, each the message of an offset."""
    archived = [ArchivedBatch(StoredBatch(batch, 1000), 0, number) for number, batch in enumerate(given_batches)]
    return pa.concat_tables([table.cast(EVENTS) for table in tables(archived)])


def found_by_sql(connection: duckdb.DuckDBPyConnection, sql: SqlCondition) -> tuple[Hits, Hits]:
    """Return the events that may match, and those that must."""
    must = "true" if sql.is_exact else sql.must.sql(DIALECT, copy=False)
    query = f'SELECT "offset", "index", {must} FROM events WHERE {sql.may.sql(DIALECT, copy=False)}'  # noqa: S608  generated
    found = connection.execute(query).fetchall()
    return {(offset, at) for offset, at, _ in found}, {(offset, at) for offset, at, is_must in found if is_must}


def found_by_engine(given_batches: Sequence[EventBatch], compiled: Conditions) -> list[Hits]:
    """Return the events that match, by the index of the condition."""
    hits: dict[int, Hits] = {}

    def fail(_: int, problem: BaseException) -> None:
        raise problem

    for offset, batch in enumerate(given_batches):
        for index, found in BatchView(batch).hits(compiled, fail, Budget(BOUNDLESS)):
            for rule, _ in found:
                hits.setdefault(rule, set()).add((offset, index))
    return [hits.get(rule, set()) for rule in range(max(hits, default=-1) + 1)]


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    """Return a database."""
    return duckdb.connect(config={"threads": 1})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(condition | more, min_size=1, max_size=4), st.lists(batches(), min_size=1, max_size=2))
def test_random_conditions_agree_with_the_engine(
    connection: duckdb.DuckDBPyConnection, conditions: list[Node], given_batches: list[EventBatch]
) -> None:
    """Whatever may match includes each match, and whatever must match is one; both are equal if SQL decides."""
    connection.register("events", rows_of(given_batches))
    hits = found_by_engine(given_batches, compile_rules(conditions))
    for number, node in enumerate(conditions):
        matches = hits[number] if number < len(hits) else set()
        sql = to_sql(node)
        may, must = found_by_sql(connection, sql)
        assert must <= matches <= may


def test_a_missing_field_is_false_and_its_negation_true(connection: duckdb.DuckDBPyConnection) -> None:
    """As in rules: `not fd.name = x` matches an event without a file, `fd.name != x` doesn't."""
    batch = batch_of({"type": "close"}, {"type": "close", "fd_name": "x", "fd_type": "file"})
    connection.register("events", rows_of([batch]))
    expected = {"not fd.name = x": {0}, "fd.name != x": set(), "fd.name = x": {1}, "not fd.name exists": {0}}
    for text, indexes in expected.items():
        may, must = found_by_sql(connection, to_sql(compile_search(text, ()).node))
        assert may == must == {(0, index) for index in indexes}, text


def test_what_sql_cannot_state_is_named() -> None:
    """The SQL then admits all that may match, and the text of the part is for people."""
    sql = to_sql(compile_search("evt.type = openat and fd.name glob '/etc/[ab]*' and proc.aargs contains x", ()).node)

    assert not sql.is_exact
    assert sql.engine == ("proc.aargs contains x", "fd.name glob /etc/[ab]*")
    assert "LIKE '/etc/%'" in sql.may.sql(DIALECT)


def test_results_have_the_names_that_rules_compare_with(connection: duckdb.DuckDBPyConnection) -> None:
    """For each type of event and some results."""
    given = [(name, result) for name in sorted(ALL_EVENT_TYPES) for result in (-4095, -115, -13, -1, 0, 7)]
    types, results = zip(*given, strict=True)
    connection.register(
        "events", pa.table({"type": types, "res": results, "bits": [int(EventBit.HAS_RES)] * len(given)})
    )
    column = field_column("evt.res")
    assert column is not None
    found = connection.sql(f"SELECT {column.values[0].sql(DIALECT)} FROM events").fetchall()  # noqa: S608  generated

    assert [name for (name,) in found] == [result_text(name, result) for name, result in given]


def test_literals_stay_literals() -> None:
    """Quotes in a condition can't end a text of the SQL."""
    text = to_sql(compile_search("""proc.name = "x' OR '1'='1" """, ()).node).may.sql(DIALECT)

    assert text == "proc_name = 'x'' OR ''1''=''1'"
