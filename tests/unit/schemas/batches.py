"""Hypothesis strategies for batches, and comparison of batches."""

from array import array
from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

from schemas.batch import (
    ARGUMENT_COLUMNS,
    EVENT_COLUMNS,
    STRING_COLUMNS,
    Container,
    EventBatch,
    Mount,
    NetworkServer,
    Process,
)
from schemas.encoding.limits import MAX_CLOCK, MAX_COUNT, MAX_SEQUENCE

RANGES = {
    "q": (-(2**63), 2**63 - 1),
    "Q": (0, 2**64 - 1),
    "i": (-(2**31), 2**31 - 1),
    "I": (0, 2**32 - 1),
    "h": (-(2**15), 2**15 - 1),
}
LONG = st.integers(*RANGES["q"])
CLOCK = st.integers(-MAX_CLOCK, MAX_CLOCK - 1)
COUNT = st.integers(0, MAX_COUNT - 1)
UNSIGNED = st.integers(*RANGES["Q"])
HEAD_TEXT = st.text(max_size=8)
TEXT = HEAD_TEXT | st.binary(max_size=8).map(lambda data: data.decode("utf-8", "surrogateescape"))
PAIRS = st.none() | st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
MOUNTS = st.builds(Mount, source=TEXT, dest=TEXT, mode=TEXT, rw=st.booleans(), propagation=TEXT)
CONTAINERS = st.builds(
    Container,
    id=TEXT,
    full_id=TEXT,
    type=TEXT,
    name=st.none() | TEXT,
    image=st.none() | TEXT,
    privileged=st.none() | st.booleans(),
    start_ts=st.none() | CLOCK,
    mounts=st.none() | st.lists(MOUNTS, max_size=2).map(tuple),
    labels=PAIRS,
    pod_name=st.none() | TEXT,
    pod_labels=PAIRS,
)

LISTS = st.lists(TEXT, max_size=2).map(tuple)
SERVERS = st.none() | st.builds(NetworkServer, listening=LISTS, package=st.none() | TEXT, libraries=LISTS)


@st.composite
def processes(draw: st.DrawFn, index: int, containers: int) -> Process:
    """Draw one process whose references are valid."""
    texts = st.none() | TEXT
    return Process(
        pid=draw(LONG),
        ppid=draw(st.none() | LONG),
        name=draw(texts),
        exepath=draw(texts),
        args=draw(st.none() | st.lists(TEXT, max_size=3).map(tuple)),
        env=draw(st.none() | st.lists(TEXT, max_size=3).map(tuple)),
        user=draw(texts),
        cgroup=draw(texts),
        cap_effective=draw(st.none() | UNSIGNED),
        exe_ino=draw(st.none() | UNSIGNED),
        exe_ino_mtime=draw(st.none() | LONG),
        start_time=draw(st.none() | CLOCK),
        is_exe_writable=draw(st.none() | st.booleans()),
        exec_generation=draw(LONG),
        is_args_truncated=draw(st.booleans()),
        is_env_truncated=draw(st.booleans()),
        container=draw(st.integers(-1, containers - 1)),
        parent=draw(st.integers(-1, index - 1)),
        session_leader=draw(st.integers(-1, index)),
        group_leader=draw(st.integers(-1, index)),
        server=draw(SERVERS),
    )


@st.composite
def batches(draw: st.DrawFn) -> EventBatch:
    """Draw any batch that a collector could send."""
    containers = draw(st.lists(CONTAINERS, max_size=2))
    rows = [draw(processes(index, len(containers))) for index in range(draw(st.integers(0, 3)))]
    strings: list[str | None] = [None, *draw(st.lists(TEXT, max_size=6, unique=True))]
    count = draw(st.integers(0, 4 if rows else 0))
    columns: dict[str, Any] = {}
    for name, code in EVENT_COLUMNS.items():
        values = st.integers(*RANGES[code])
        if name in STRING_COLUMNS:
            values = st.integers(0, len(strings) - 1)
        elif name == "process":
            values = st.integers(0, max(len(rows) - 1, 0))
        elif name == "time":
            values = CLOCK
        columns[name] = array(code, draw(st.lists(values, min_size=count, max_size=count)))
    starts = [0]
    for _ in range(count):
        starts.append(starts[-1] + draw(st.integers(0, 3)))
    columns["arg_start"] = array("I", starts)
    for name in ("arg_name", "arg_value", "arg_raw"):
        values = LONG if name == "arg_raw" else st.integers(0, len(strings) - 1)
        columns[name] = array(ARGUMENT_COLUMNS[name], draw(st.lists(values, min_size=starts[-1], max_size=starts[-1])))
    return EventBatch(
        host_id=draw(HEAD_TEXT),
        hostname=draw(HEAD_TEXT),
        boot_id=draw(HEAD_TEXT),
        collector_start=draw(CLOCK),
        sequence=draw(st.integers(0, MAX_SEQUENCE - 1)),
        created=draw(CLOCK),
        sent=draw(CLOCK),
        collector_version=draw(HEAD_TEXT),
        kernel=draw(HEAD_TEXT),
        os_name=draw(HEAD_TEXT),
        architecture=draw(HEAD_TEXT),
        addresses=draw(st.lists(HEAD_TEXT, max_size=2)),
        first_number=draw(COUNT),
        first_index=draw(st.integers(0, 2**19 - 1)),
        cpu_seconds=draw(st.floats(0, 1e11)),
        lost=draw(st.dictionaries(HEAD_TEXT, COUNT, max_size=2)),
        count=count,
        strings=strings,
        processes=rows,
        containers=containers,
        columns=columns,
    )


def same(found: EventBatch, meant: EventBatch) -> bool:
    """Compare two batches; the encoded one may have more strings, those of its tables."""
    plain = [each.name for each in fields(EventBatch) if each.name not in ("strings", "columns")]
    return (
        all(getattr(found, name) == getattr(meant, name) for name in plain)
        and found.strings[: len(meant.strings)] == meant.strings
        and {name: list(column) for name, column in found.columns.items()}
        == {name: list(column) for name, column in meant.columns.items()}
    )


def read_everything(batch: EventBatch) -> None:
    """Follow every index as a processor would. Raises IndexError for an invalid one."""
    for name, column in batch.columns.items():
        if name in STRING_COLUMNS or name in ("arg_name", "arg_value"):
            assert all(0 <= index < len(batch.strings) for index in column)
        elif name in EVENT_COLUMNS:
            assert len(column) == batch.count
    assert all(0 <= index < len(batch.processes) for index in batch.columns["process"])
    starts = list(batch.columns["arg_start"])
    assert starts == sorted(starts)
    assert (len(starts), starts[0]) == (batch.count + 1, 0)
    assert {len(batch.columns[name]) for name in ("arg_name", "arg_value", "arg_raw")} == {starts[-1]}
    for index, process in enumerate(batch.processes):
        assert -1 <= process.parent < index
        assert -1 <= process.container < len(batch.containers)
        assert -1 <= process.session_leader <= index
        assert -1 <= process.group_leader <= index
