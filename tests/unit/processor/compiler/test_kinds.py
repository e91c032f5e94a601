"""Rules are evaluated once for processes that they can't tell apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from processor.compiler.batch import compile_rules
from processor.compiler.kinds import MAX_KINDS, Kinds
from processor.detection.budget import BOUNDLESS, Budget
from processor.detection.view import BatchView
from processor.fields.extract import IDENTITY, condition_expression, event_names
from processor.language.parser import parse
from schemas.batch import Container, EventBatch, Process, ProgramFile
from schemas.catalog.fields import FIELDS
from schemas.pod import Pod
from tests.unit.processor.batches import batch_of

_CONTAINER = Container(
    id="3d09256ebd53", full_id="3d09256ebd53" * 5, type="docker", pod=Pod(uid="1", name="web", namespace="x")
)
_OF_PROCESS = {"process", "c_bits", "c_res"}
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "": (),
    "index": ("0", "1", "2"),
    "key": ("A", "/"),
    "index or key": ("1", "A"),
}


def _line(first: int) -> list[Process]:
    """Return a shell, its child and the child's child: numbers and times begin at a number, all else is the same."""
    identity = {name: value for value, name in enumerate(sorted(IDENTITY - {"exec_generation"}), first)}
    return [
        Process(**identity, name="bash", exe="bash", args=("-c", "x"), env=("A=b",), tty=7),  # type: ignore[arg-type]
        Process(**identity, name="sh", exe="sh", args=(), parent=0, container=0),  # type: ignore[arg-type]
        Process(**identity, name="true", exe="true", args=("y",), cwd="/", parent=1, container=0),  # type: ignore[arg-type]
    ]


def _batch(processes: Sequence[Process], count: int = 1) -> EventBatch:
    row = len(processes) - 1
    return batch_of(*[{"type": "execve", "process": row}] * count, processes=[*processes], containers=[_CONTAINER])


def test_no_field_that_counts_as_equal_for_a_kind_differs() -> None:
    """Whatever a condition may read of a process and isn't marked as its identity."""
    some, others = (event_names(_batch(_line(first)), 0) for first in (100, 200))
    names: list[tuple[str, str | None]] = [(name, None) for name in FIELDS]
    names += [(name, each) for name, spec in FIELDS.items() for each in _ARGUMENTS[spec.argument_kind]]
    read = {
        at: (eval(found.expression, some), eval(found.expression, others))  # noqa: S307
        for at in names
        if (found := condition_expression(*at)) is not None and found.sources <= _OF_PROCESS
    }
    assert ("proc.name", None) in read
    assert ("proc.is_sid_leader", None) in read
    assert ("proc.pid", None) not in read
    assert {at: values for at, values in read.items() if values[0] != values[1]} == {}


def test_no_field_that_counts_as_equal_for_similar_calls_differs() -> None:
    """Whatever a condition may read of an event, unless it names a column whose values are compared."""
    alike = {
        "type": "connect",
        "fd_type": "ipv4",
        "fd_num": 3,
        "remote_ip": "10.0.0.1",
        "remote_port": 443,
        "bits": 0xFFFFFFFF,
    }
    batch = batch_of(
        {
            **alike,
            "local_port": 5000,
            "fd_name": "a:5000->b",
            "thread": 7,
            "cpu": 0,
            "args": {"fd": "3", "A": ("x", 1)},
        },
        {
            **alike,
            "local_port": 5001,
            "fd_name": "a:5001->b",
            "thread": 8,
            "cpu": 1,
            "args": {"fd": "4", "A": ("y", 2)},
        },
        processes=_line(100),
        containers=[_CONTAINER],
    )
    batch.columns["time"][1] += 1
    names: list[tuple[str, str | None]] = [(name, None) for name in FIELDS]
    names += [(name, each) for name, spec in FIELDS.items() for each in _ARGUMENTS[spec.argument_kind]]
    varying = {f"c_{name}" for name, column in batch.columns.items() if name[:3] != "arg" and column[0] != column[1]}
    read = {
        at: [eval(found.expression, event_names(batch, index)) for index in (0, 1)]  # noqa: S307
        for at in names
        if (found := condition_expression(*at)) is not None and not found.sources & {"name", "event", *varying}
    }
    assert ("fd.rport", None) in read
    assert ("evt.res", None) in read
    assert {at: values for at, values in read.items() if values[0] != values[1]} == {}


def test_processes_of_a_kind_have_its_number_in_all_batches() -> None:
    """They differ in another kind of parent, other arguments, however long, or another container's or file's facts."""
    kinds = Kinds()

    def number(processes: Sequence[Process]) -> int:
        return kinds.of(_batch(processes))(len(processes) - 1)

    shell, child, last = _line(1)
    same = number([shell, child, last])
    assert number(_line(50)) == same
    long = [Process(pid=1, args=("x" * 5_000, end), parent=1) for end in ("a", "b", "a")]
    of_long = [number([shell, child, each]) for each in long]
    assert of_long[0] == of_long[2] != of_long[1]
    numbers = {
        same,
        number([shell, child]),
        number([shell]),
        number([replace(shell, sid=shell.pid)]),
        number([replace(shell, file=ProgramFile(origin="dropped"))]),
        number([Process(pid=1, name="zsh"), child, last]),
        of_long[0],
        of_long[1],
        *(number([Process(pid=1, name=f"p{each}")]) for each in range(2 * MAX_KINDS)),
        number(_line(70)),
    }
    assert len(numbers) == 8 + 2 * MAX_KINDS + 1


def test_each_process_matches_as_if_it_were_alone() -> None:
    """Rules about its number, the event or its file are evaluated for each; one that raises is so each time."""
    conditions = [
        *(f"proc.name = {name}" for name in ("true", "sh", "bash", "zsh", "csh", "ksh", "fish")),
        "proc.pname = sh and proc.aname[2] = bash",
        "proc.pid >= 200",
        "evt.rawres = 7",
        "container.id = 3d09256ebd53",
    ]
    compiled = compile_rules([parse(each) for each in conditions])
    assert "kind_of(p)" in compiled.matchers["execve"].source
    found = []
    for first, count in ((100, 2), (300, 1)):
        batch = _batch(_line(first), count)
        batch.columns["res"][-1] = 7
        for _, hits in BatchView(batch).hits(compiled, lambda *_: None, Budget(BOUNDLESS)):
            found.append([rule for rule, _ in hits])
    assert found == [[0, 7, 10], [0, 7, 9, 10], [0, 7, 8, 9, 10]]


def test_each_connection_matches_as_if_it_were_alone() -> None:
    """Rules about its name, local port or time are evaluated for each; one that raises is so each time."""
    conditions = [
        "fd.rport = 443",
        "fd.rip = 10.0.0.1",
        "proc.name = curl",
        "evt.rawres = 7",
        "fd.lport = 5001",
        "fd.name endswith :5002->10.0.0.1:443",
        "evt.num = 2",
    ]
    alike = {"type": "connect", "fd_type": "ipv4", "remote_ip": "10.0.0.1", "remote_port": 443, "res": 0}
    events = [{**alike, "local_port": port, "fd_name": f"a:{port}->10.0.0.1:443"} for port in range(5000, 5004)]
    events += [{**alike, "remote_port": 80}, {**alike, "remote_ip": "10.0.0.2"}, {**alike, "res": 7}]
    compiled = compile_rules([parse(each) for each in conditions])
    assert "found_of = {}\n" in compiled.matchers["connect"].source.partition("def bind")[2]

    def hits(*some: Mapping[str, object]) -> list[list[int]]:
        view = BatchView(batch_of(*some, processes=[Process(pid=1, name="curl")]))
        found: list[list[int]] = [[] for _ in some]
        for index, each in view.hits(compiled, lambda *_: None, Budget(BOUNDLESS)):
            found[index] = [rule for rule, _ in each]
        return found

    assert [each - {6} for each in map(set, hits(*events))] == [set(hits(each)[0]) for each in events]
    assert hits(*events)[1:3] == [[0, 1, 2, 4, 6], [0, 1, 2, 5]]
