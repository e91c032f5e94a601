"""Damaged and lying captures: an error at an offset or a counted skip, within bounded memory and time."""

import contextlib
import gzip
import io
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.captures.blocks import BadCapture
from lanner.captures.reading import CaptureReader
from lanner.captures.state import threads
from lanner.captures.state.descriptors import OpenDescriptor
from lanner.recorder.batches import from_files
from tests.unit.lanner.captures import scap_files as scap

MANY = scap.capture(
    scap.interface("10.0.0.5", "255.255.255.0"),
    scap.users((0, "root")),
    scap.descriptors(10, scap.descriptor(0, 16, struct.pack("<I", 1) + scap.sized(b"/dev/null") + bytes(4))),
    *scap.cloned(20, 10, "bash"),
    scap.executed(20, "cat", b"/etc/shadow\0"),
    scap.opened(20, 3, "/etc/shadow"),
    scap.event("read", 20, {"res": 1, "data": b"x", "fd": 3, "size": 1}),
    scap.event("poll", 20, {"res": 1, "fds": struct.pack("<HqH", 9, 3, 1)}),
    scap.event("setsockopt", 20, {"res": 0, "fd": 3, "level": 1, "optname": 2, "val": b"\2\1\0\0\0", "optlen": 4}),
    scap.event("procexit", 20, {"status": 0, "ret": 0, "sig": 0, "core": 0, "reaper_tid": 1}, is_exit=False),
)


def read(data: bytes) -> int:
    """Return how many events a capture has. Raises BadCapture."""
    return sum(batch.count for batch in CaptureReader(io.BytesIO(data), "made.scap").batches())


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\n", "at byte 0: the file ends within the head of a block"),
        (b"\n" * 12, "at byte 0: this is no capture: it does not begin with a section header"),
        (scap.section()[:20], "at byte 8: the file ends within the section header: 16 bytes are due"),
        (scap.section() + struct.pack("<II", 0x216, 5), "at byte 28: a block claims a length of 5 bytes"),
        (scap.section() + struct.pack("<II", 0x216, 0xFFFFFFF0), "at byte 28: a block claims 4,294,967,280 bytes;"),
        (scap.section() + struct.pack("<II", 0x999, 0xFFFFFFF0), "the file ends within a block of type 0x999"),
        (scap.section() + scap.machine()[:-4] + b"abcd", "ends with another length"),
        (scap.section() + scap.machine()[:60], "at byte 36: the file ends within a block of type 0x201"),
        (scap.section() + scap.block(0x201, b"short"), "8 bytes are due, but the entry has 4 left"),
        (scap.section() + scap.block(0x215, struct.pack("<I", 1 << 31)), "an entry claims 2,147,483,648 bytes"),
        (scap.section() + scap.block(0x219, struct.pack("<IHHI", 8, 9, 0, 0)), "an interface has the unknown type 9"),
        (scap.section() + scap.block(0x216, b"tiny"), "an event of 4 bytes is too short"),
        (
            scap.capture(scap.block(0x216, struct.pack("<HQqIHI", 0, 0, 10, 1 << 20, 3, 0))),
            "an event claims 1,048,576 bytes",
        ),
        (
            scap.capture(scap.block(0x216, struct.pack("<HQqIHI", 0, 0, 10, 26, 3, 1 << 30))),
            "the parameters of an event (open) don't fit its 26 bytes",
        ),
        (scap.section().replace(b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"), "made on a big-endian host"),
        (gzip.compress(scap.capture(), mtime=0)[:-20], "the compressed data is truncated"),
        (gzip.compress(scap.capture(), mtime=0)[:-8] + bytes(8), "the compressed data is damaged"),
    ],
)  # fmt: skip
def test_a_damaged_capture_ends_with_an_error_at_an_offset(data: bytes, problem: str) -> None:
    """The error names the file, the place and the fault."""
    with pytest.raises(BadCapture) as caught:
        read(data)
    assert caught.value.messages[0].startswith("made.scap: at byte ")
    assert problem in caught.value.messages[0]


def test_the_events_before_the_damage_are_evaluated(tmp_path: Path) -> None:
    """A truncated capture gives what it has before its error."""
    path = tmp_path / "cut.scap"
    path.write_bytes(MANY[:-7])
    found = []
    with pytest.raises(BadCapture):
        found.extend(from_files((path,)))
    assert sum(stored.batch.count for stored in found) == read(MANY) - 1


def test_processes_that_descend_from_each_other_do_not_hang() -> None:
    """A list may claim a cycle of parents."""
    listed = scap.processes(scap.process(10, parent=11), scap.process(11, parent=12), scap.process(12, parent=10))
    assert read(scap.capture(*[scap.opened(pid, 3, "/x") for pid in (10, 11, 12)], listed=listed)) == 3


def test_a_small_file_can_not_claim_much_memory() -> None:
    """Lengths are checked before memory is taken, and decompression gives a piece at a time."""
    bomb = gzip.compress(scap.section() + struct.pack("<II", 0x999, 1 << 27) + bytes(1 << 26))
    tracemalloc.start()
    try:
        with pytest.raises(BadCapture):
            read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_clones_do_not_multiply_descriptors_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short file may clone a process with many descriptors many times."""
    monkeypatch.setattr(threads, "MAX_INHERITED", 100)
    table = threads.ThreadTable()
    parent = table.add_unknown(10)
    for number in range(30):
        table.add_descriptor(parent, number, OpenDescriptor())
    sizes = [len(table.inherited(parent)) for _ in range(5)]
    for tid in range(100, 104):
        table.add_unknown(tid).descriptors = table.inherited(parent)

    assert sizes == [30] * 5
    assert sum(len(each.descriptors) for tid in range(100, 104) if (each := table.find(tid))) <= 100


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_damage_ends_in_anything_but_an_error(data: st.DataObject) -> None:
    """Bytes that are changed, removed or added anywhere give events or a BadCapture."""
    damaged = bytearray(MANY)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(("set", "cut", "add"))):
            case "set":
                damaged[at] = data.draw(st.sampled_from((0, 1, 3, 0x7F, 0x80, 0xFF)))
            case "cut":
                del damaged[at : at + data.draw(st.integers(1, 9))]
            case _:
                damaged[at:at] = data.draw(st.binary(max_size=9))
        if not damaged:
            break
    with contextlib.suppress(BadCapture):
        read(bytes(damaged))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 453), st.lists(st.binary(max_size=40), max_size=32), st.integers(-2, 40))
def test_no_parameters_of_any_event_end_in_a_fault(number: int, params: list[bytes], tid: int) -> None:
    """Each event of the table is read with parameters of any sizes."""
    read(scap.capture(scap.opened(10, 3, "/x"), scap.numbered_event(number, tid, params)))
