"""SQL that a person wrote reads nothing but the views."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyarrow import dataset

from lanner.archive.schema import ALERTS
from lanner.errors import BadInput
from lanner.hunting.hunt import HuntLimits
from lanner.hunting.results import rows_of as rows_shown
from lanner.hunting.sql import SqlHunt, checked
from lanner.recorder.store import EventRange
from processor.output.redaction import Redaction
from schemas.batch import Process
from tests.unit.lanner.hunting.test_conditions import rows_of
from tests.unit.processor.batches import INIT, batch_of

ATTACKS = (
    "SELECT * FROM read_csv('/etc/shadow')",
    "SELECT * FROM read_text('/etc/shadow')",
    "SELECT * FROM '/etc/shadow'",
    'SELECT * FROM "/etc/shadow"',
    "SELECT (SELECT content FROM read_text('/etc/shadow'))",
    "WITH x AS (SELECT * FROM read_blob('/etc/shadow')) SELECT * FROM x",
    "SELECT * FROM events WHERE EXISTS (FROM read_csv('/etc/shadow'))",
    "SELECT * FROM events, LATERAL (SELECT * FROM read_text('/etc/shadow'))",
    "SELECT * FROM sniff_csv('/etc/shadow')",
    "SELECT 1 UNION ALL SELECT content FROM read_text('/etc/shadow')",
    'SELECT * FROM (WITH "/etc/shadow" AS (SELECT 1) SELECT 1), "/etc/shadow"',
    "SELECT * FROM (WITH archived_events AS (SELECT 1) SELECT 1), archived_events",
    "SELECT * FROM archived_events",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_parquet('http://127.0.0.1:9/x')",
    "SELECT * FROM sqlite_scan('/tmp/x', 'y')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM main.events",
    "SELECT * FROM INDIRECT",
    "SELECT getenv('HOME')",
    "SELECT current_setting('memory_limit')",
    "COPY (SELECT 1) TO '/tmp/lanner-attack.csv'",
    "COPY events TO '/tmp/lanner-attack.parquet'",
    "EXPORT DATABASE '/tmp/lanner-attack'",
    "ATTACH '/tmp/lanner-attack.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "SET memory_limit = '1TB'",
    "RESET memory_limit",
    "CREATE TABLE x AS SELECT 1",
    "DROP VIEW events",
    "DELETE FROM events",
    "SELECT 1; DROP VIEW events",
    "SELECT 1 INTO OUTFILE '/tmp/lanner-attack'",
    "EXPLAIN SELECT 1",
    "PREPARE x AS SELECT 1",
    "",
    "nonsense (",
    f"SELECT {'(' * 60}1{')' * 60}",
)


@pytest.fixture
def hunt() -> Iterator[SqlHunt]:
    """Return the views over two events."""
    batch = batch_of({"type": "openat", "fd_name": "/etc/hosts"}, {"type": "close"}, processes=[INIT])
    found = SqlHunt(
        dataset.dataset(rows_of([batch])),
        dataset.dataset(ALERTS.empty_table()),
        EventRange(0),
        HuntLimits(memory_mib=128),
    )
    yield found
    found.close()


def run(hunt: SqlHunt, text: str) -> pa.Table:
    """Return the rows of a query."""
    return hunt.run(checked(text), 100, lambda: False)


def test_events_have_columns_by_the_names_of_fields(hunt: SqlHunt) -> None:
    """Expressions of fields are computed, such as proc.cmdline."""
    rows = run(hunt, "SELECT evt_type, fd_filename, proc_cmdline FROM events ORDER BY evt_type DESC").to_pylist()

    assert rows[0] == {"evt_type": "openat", "fd_filename": None, "proc_cmdline": "systemd"}
    assert run(hunt, "WITH x AS (FROM alerts) SELECT count(*) AS n FROM x").to_pylist() == [{"n": 0}]


@pytest.mark.parametrize("text", ATTACKS)
def test_nothing_else_is_accepted(hunt: SqlHunt, text: str) -> None:
    """The error is for the person who wrote it."""
    with pytest.raises(BadInput, match=r"^--sql: "):
        run(hunt, text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd.csv'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_parquet('http://127.0.0.1:9/x')",
        "COPY (SELECT 1) TO '/tmp/lanner-attack.csv'",
        "EXPORT DATABASE '/tmp/lanner-attack'",
        "ATTACH '/tmp/lanner-attack.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT getenv('HOME')",
        "SELECT * FROM batch",
        "SET memory_limit = '1TB'",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/etc']",
        "RESET lock_configuration",
    ],
)
def test_the_database_would_not_do_it_either(hunt: SqlHunt, text: str) -> None:
    """If a text passed the check, the database could still open no file and no connection, nor change its settings."""
    batch = pa.table({"secret": [1]})
    with pytest.raises(duckdb.Error):
        hunt._connection.execute(text)
    assert batch.num_rows
    assert not list(Path("/tmp").glob("lanner-attack*"))


def test_a_query_that_takes_too_much_memory_is_refused(hunt: SqlHunt) -> None:
    """The limit is the setting, and the error names what to do."""
    with pytest.raises(BadInput, match="MiB: narrow"):
        run(
            hunt,
            "SELECT list(repeat('x', 1000) || a || b) FROM (SELECT unnest(range(2000)) AS a), "
            "(SELECT unnest(range(2000)) AS b)",
        )


def test_a_query_can_be_stopped(hunt: SqlHunt) -> None:
    """Ctrl-C interrupts it."""
    text = "WITH n AS (SELECT unnest(range(100000)) AS a) SELECT sum(x.a * y.a % 7 + z.a) FROM n AS x, n AS y, n AS z"
    with pytest.raises(BadInput, match="stopped"):
        hunt.run(checked(text), 10, lambda: True)


def test_a_query_cannot_take_secrets_apart() -> None:
    """With a redaction, texts are masked before the query reads them, also in lists and conditions."""
    secret = Process(pid=7, name="sh", exe="--token=s3cret", args=("--password", "hunter2"), parent=0)
    batch = batch_of(
        {"type": "openat", "fd_name": "/x?token=s3cret", "process": 1}, {"type": "execve", "process": 2},
        processes=[INIT, secret, Process(pid=8, name="a", parent=1)],
    )  # fmt: skip
    masked = SqlHunt(
        dataset.dataset(rows_of([batch])), dataset.dataset(ALERTS.empty_table()), EventRange(0),
        HuntLimits(memory_mib=128), Redaction(),
    )  # fmt: skip
    (row,) = run(masked, "SELECT reverse(fd_name) AS f FROM events WHERE evt_type = 'openat'").to_pylist()
    assert row["f"] == "/x?token=[redacted]"[::-1]
    assert run(masked, "SELECT 1 FROM events WHERE proc_cmdline LIKE '%hunter2%'").num_rows == 0
    (ancestors,) = run(masked, "SELECT proc_aexe AS a FROM events WHERE evt_type = 'execve'").to_pylist()
    assert ancestors == {"a": ["--token=[redacted]", "/sbin/init"]}
    masked.close()


def test_values_that_arrow_lacks_become_texts(hunt: SqlHunt) -> None:
    """Arrow makes no rows of some of these, and ends the process for others; their texts are masked like others."""
    text = """SELECT MAP {} AS m, MAP {'k': 'v'} AS n, union_value(k := 1) AS u, {} AS e, INTERVAL 1 DAY AS i,
        'a'::BLOB AS b, DATE '-4000-01-01' AS d, [TIME '10:00'] AS t, [1] AS l,
        340282366920938463463374607431768211455::UHUGEINT AS h"""

    (row,) = run(hunt, text).to_pylist()

    assert row["n"] == "{k=v}"
    assert row["l"] == [1]
    assert all(isinstance(value, str) for name, value in row.items() if name != "l")


def test_times_of_all_types_have_nanoseconds_and_are_utc(hunt: SqlHunt) -> None:
    """One that is out of their range is an error for the person who wrote it."""
    found = run(hunt, "SELECT TIMESTAMPTZ '2026-11-30 01:00:00+01' AS a, TIMESTAMP '2026-11-30' AS b")

    assert {str(kind) for kind in found.schema.types} == {"timestamp[ns]"}
    assert list(rows_shown(found)) == [["2026-11-30T00:00:00.000000000Z"] * 2]
    with pytest.raises(BadInput, match="Conversion Error"):
        run(hunt, "SELECT TIMESTAMP '9999-12-31'")


@pytest.mark.parametrize("text", ["SELECT range(1000000000)", "SELECT repeat('x', 2000000000)"])
def test_one_huge_value_is_refused_as_other_excessive_queries_are(hunt: SqlHunt, text: str) -> None:
    """The database itself doesn't count it."""
    with pytest.raises(BadInput, match="needs more than 128 MiB"):
        run(hunt, text)

    assert run(hunt, "SELECT 1 AS n").num_rows == 1
