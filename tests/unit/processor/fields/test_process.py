import pytest

from processor.fields.extract import _reader_factory, condition_expression, extract
from schemas.batch import Process
from tests.unit.processor.batches import batch_of


@pytest.mark.parametrize(
    ("parent", "line"),
    [
        (Process(pid=7, name="java", exe="/opt/jdk/bin/java", args=("-jar", "a b")), "/opt/jdk/bin/java -jar a b"),
        (Process(pid=7, name="bash", exe="-bash", args=()), "-bash"),
        (Process(pid=7, name="bash"), None),
    ],
)
def test_the_parents_line_starts_with_what_the_parent_was_called_by(parent: Process, line: str | None) -> None:
    """It is the parent's proc.exeline: argv[0] with its directory, not the name that the kernel has."""
    batch = batch_of({"type": "execve", "process": 1}, processes=[parent, Process(pid=8, name="sh", parent=0)])
    assert extract(batch, 0, "proc.pexeline") == line


def test_a_process_without_a_known_parent_has_no_parents_line() -> None:
    """The field is missing, not empty."""
    batch = batch_of({"type": "execve"}, processes=[Process(pid=8, name="sh")])
    assert extract(batch, 0, "proc.pexeline") is None


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["b", "a"], "a b"),
        ([" b ", "a "], "a   b "),
        (["b", ""], "b"),
        (["", "a"], "a "),
        ([None, "a"], "a"),
        ([""], None),
    ],
)
def test_all_ancestors_of_a_process_are_one_text(names: list[str | None], line: str | None) -> None:
    """Blanks in names stay, and the nearest ancestor comes first."""
    rows = [Process(pid=pid, name=name, parent=pid - 1) for pid, name in enumerate([*names, "own"])]
    batch = batch_of({"type": "openat", "process": len(names)}, processes=rows)

    assert extract(batch, 0, "proc.aname") == line


def test_a_variable_of_ancestors() -> None:
    """It is empty without ancestors, and missing if nothing is known of them."""
    rows = [
        Process(pid=0, parent=-1),
        Process(pid=1, parent=0),
        Process(pid=2, parent=1, env=("A=1",)),
        Process(pid=3, parent=2),
    ]
    values = [
        extract(batch_of({"type": "openat", "process": at}, processes=rows), 0, "proc.aenv[A]") for at in range(4)
    ]

    assert values == ["", None, None, "1"]


def test_the_ancestors_that_a_field_looks_at_are_limited() -> None:
    """A hostile batch may hold a line of all its processes, each with a text of a million characters."""
    texts = ("a" * 60_000,) * 17
    rows = [Process(pid=pid, name=f"p{pid}", args=texts, parent=pid - 1) for pid in range(5000)]
    batch = batch_of({"type": "openat", "process": 4999}, processes=rows)
    names, lines, pids = (
        _reader_factory(found.expression)(batch)(0)
        for field in ("proc.aname", "proc.acmdline", "proc.apid")
        if (found := condition_expression(field)) is not None
    )

    assert isinstance(names, tuple)
    assert (len(names), names[0], names[-1]) == (1024, "p4998", "p3975")
    assert isinstance(lines, tuple)
    assert 0 < sum(map(len, lines)) <= 4 << 20
    assert isinstance(pids, tuple)
    assert len(pids) == 1024
    assert len(str(extract(batch, 0, "proc.acmdline"))) <= 4 << 20
    assert str(extract(batch, 0, "proc.aname")).startswith("p4998 p4997 ")
