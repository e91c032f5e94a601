from dataclasses import replace

from hypothesis import given

from collector.publishing.send_window import halves
from processor.detection.detector import Detector
from processor.detection.view import BatchView
from processor.fields.extract import reader
from processor.language.parser import parse
from schemas.alert import Alert
from schemas.batch import EventBatch, Process
from schemas.encoding.batch import decode_batch, encode_batch
from schemas.encoding.limits import MAX_COUNT
from tests.unit.processor.batches import INIT, batch_of
from tests.unit.processor.plain_rules import DetectionRule
from tests.unit.schemas.batches import batches

OPEN = DetectionRule("Open", parse("evt.type = openat"), "%evt.num %fd.name %proc.aname[1]")
SHELL = Process(pid=7, name="sh", args=("x" * 1000,), parent=0, session_leader=1)


def actions() -> EventBatch:
    """Return five events of two processes, with everything else that a batch may report."""
    events = [
        {"type": "openat", "fd_name": f"/{number}", "process": 1 + number % 2, "args": {"name": f"/{number}"}}
        for number in range(5)
    ]
    processes = [INIT, SHELL, Process(pid=8, name="cat", parent=1, session_leader=1, group_leader=2)]
    return replace(
        batch_of(*events, processes=processes, first_number=100),
        lost={"events_ring_full": 3},
        watched=["openat"],
        interest=b"x",
        stopping=True,
    )


def pieces(batch: EventBatch) -> list[EventBatch]:
    """Divide until nothing is left to divide."""
    parts = halves(batch)
    return [batch] if parts is None else [piece for part in parts for piece in pieces(part)]


def alerts_of(*parts: EventBatch) -> list[Alert]:
    """Evaluate each part as a separate message."""
    detector = Detector([OPEN])
    return [alert for part in parts for alert in detector.process(BatchView(decode_batch(encode_batch(part))))]


def test_alerts_are_the_same_however_a_batch_is_divided() -> None:
    """Including ids, so that a part delivered again with the whole makes no second alert."""
    whole = actions()
    assert len(alerts_of(whole)) == 5
    parts = halves(whole)
    assert parts is not None
    assert alerts_of(*parts) == alerts_of(whole)
    assert alerts_of(*pieces(whole)) == alerts_of(whole)


def test_parts_count_from_where_they_begin_and_share_their_number() -> None:
    """Event numbers continue, and no batch number is missing."""
    found = pieces(actions())
    assert [(part.first_number, part.first_index, part.count) for part in found] == [
        (100, 0, 1),
        (101, 1, 0),
        (101, 1, 1),
        (102, 2, 1),
        (103, 3, 1),
        (104, 4, 1),
    ]
    assert {part.sequence for part in found} == {7}
    nested = halves(found[-1])
    assert nested is None


def test_what_a_batch_also_reports_is_in_one_part() -> None:
    """Losses reported twice would be counted twice; a single event that is divided reports them in a separate part."""
    found = pieces(actions())
    reporting = [part for part in found if part.lost or part.watched or part.interest]
    assert [(part.count, part.lost, part.watched, part.interest) for part in reporting] == [
        (0, {"events_ring_full": 3}, ["openat"], b"x")
    ]
    assert reporting[0].processes == []


def test_a_part_holds_only_what_its_events_need() -> None:
    """Otherwise halving would not make it smaller."""
    last = pieces(actions())[-1]
    assert [process.name for process in last.processes] == ["systemd", "sh"]
    assert (last.processes[1].parent, last.processes[1].session_leader) == (0, 1)
    assert "/3" not in last.strings
    assert len(encode_batch(last)) < len(encode_batch(actions()))


@given(batches())
def test_any_batch_s_events_are_those_of_its_parts(batch: EventBatch) -> None:
    """In order and complete, and each part is a batch that a processor accepts."""
    # A collector counts from 0: at a processor's limits there is no index or number left after the first event's.
    first_index, first_number = min(batch.first_index, 1000), min(batch.first_number, MAX_COUNT - 1 - batch.count)
    whole = decode_batch(encode_batch(replace(batch, first_index=first_index, first_number=first_number)))
    parts = [decode_batch(encode_batch(part)) for part in pieces(whole)]
    assert sum(part.count for part in parts) == whole.count
    for name in ("evt.num", "evt.rawtime", "fd.name", "evt.args", "proc.pid", "proc.args", "proc.apid", "container.id"):
        read = reader(whole, name)
        reported = [value for part in parts for value in map(reader(part, name), range(part.count))]
        assert reported == [read(index) for index in range(whole.count)]
