import pytest

from processor.fields.extract import extract
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
