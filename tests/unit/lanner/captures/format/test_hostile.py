"""Damaged and lying captures: an error at an offset or a counted skip, within bounded memory and time."""

import contextlib
import gzip
import io
import re
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.processes.container_names import ContainerName
from collector.processes.parts import Credentials
from collector.processes.process import TrackedProcess
from collector.processes.relatives import MAX_WALK, ancestors
from lanner.captures.format.blocks import BadCapture
from lanner.captures.format.events import EVENTS, CapturedEvent, EventJoiner
from lanner.captures.reader import CaptureReader
from lanner.captures.state import limits, threads
from lanner.captures.state.accounts import Containers
from lanner.captures.state.descriptors import OpenDescriptor
from lanner.recorder.store import from_files
from tests.unit.lanner.captures.format import scap_files as scap

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
    monkeypatch.setattr(limits, "MAX_OPEN", 5000)
    table = threads.ThreadTable()
    parent = table.add_unknown(10)
    for number in range(30):
        table.add_descriptor(parent, number, OpenDescriptor())
    for tid in range(100, 300):
        table.add_unknown(tid).descriptors = table.inherited(parent)

    assert sum(len(each.descriptors) for tid in range(100, 300) if (each := table.find(tid))) <= 5000
    assert table.limits.lines() == ["did not follow 1,050 descriptors: too many at once"]


def test_the_texts_of_all_threads_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest are cut, and the summary reports it; short ones and their processes stay as they are."""
    monkeypatch.setattr(limits, "MAX_TEXT_BYTES", 1 << 20)
    many = [scap.process(1000 + n, args=b"%05d" % n * 1600, cwd="/" + f"{n:04}" * 900) for n in range(300)]
    listed = scap.processes(scap.process(10, args=b"-a\0-b", cwd="/home"), *many)
    files = (scap.opened(1000 + n, 3, f"/{n}/" + "x" * 900, at=n + 1) for n in range(300))
    reader = CaptureReader(io.BytesIO(scap.capture(*files, listed=listed)), "made.scap")
    table = reader._assembler.threads
    assert sum(batch.count for batch in reader.batches()) == 300

    found = [thread for tid in (10, *range(1000, 1300)) if (thread := table.find(tid))]
    texts = [text for each in found for text in ((each.entry.program.args or ("",))[0], each.entry.context.cwd or "")]
    assert sum(map(len, texts)) + sum(len(each.name) for one in found for each in one.descriptors.values()) < 1 << 20
    assert found[0].entry.program.args == ("-a", "-b")
    assert found[0].entry.context.cwd == "/home"
    (line,) = reader.counts.lines()
    assert re.fullmatch(r"shortened [\d,]+ texts of processes and files: together they exceed 1 MiB", line)


def test_the_lineages_of_a_line_of_processes_are_not_walked_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever order they are listed, and for each orphan: a fixed number of steps."""
    steps = 0

    def counted(entry: TrackedProcess) -> Iterator[TrackedProcess]:
        nonlocal steps
        for each in ancestors(entry):
            steps += 1
            yield each

    monkeypatch.setattr(threads, "ancestors", counted)
    line = [scap.process(100 + n, parent=99 + n, comm="x") for n in range(3000)]
    for order in (line, line[::-1], line[::2] + line[1::2]):
        listed = b"".join(scap.processes(*order[start : start + 500]) for start in range(0, len(order), 500))
        reader = CaptureReader(io.BytesIO(scap.capture(scap.opened(3099, 3, "/x"), listed=listed)), "made.scap")
        assert sum(batch.count for batch in reader.batches()) == 1
        lowest = reader._assembler.threads.find(3099)
        assert lowest is not None
        assert len(list(ancestors(lowest.entry))) == MAX_WALK
    assert steps < 3 * 3000 * threads._MAX_CYCLE


def test_ended_ancestors_are_not_retained_without_limit() -> None:
    """Two ids may be given to new processes again and again, each a child of the other's last one."""
    table = threads.ThreadTable()
    former = table.add_unknown(10)
    for number in range(20_000):
        entry = TrackedProcess(number + 2, 0, 0, Credentials(0))
        thread = threads.CapturedThread(10 + number % 2, 10 + (number + 1) % 2, entry)
        table.add(thread)
        former = thread
    assert sum(1 for _ in ancestors(former.entry)) <= 2 * 64 + 2


def test_the_entries_of_calls_that_do_not_return_are_limited_together() -> None:
    """Each of thousands of threads may enter a call with long parameters."""
    joiner = EventJoiner()
    number = next(each.number for each in EVENTS if each.name == "openat" and each.is_old and not each.is_exit)
    for tid in range(2000):
        joiner.join(CapturedEvent(1, tid, 0, EVENTS[number], (bytes(8), bytes(16_000), bytes(4), bytes(4))))
    assert sum(joiner.has_entry(tid) for tid in range(2000)) <= (8 << 20) // 16_000
    assert joiner.has_entry(1999)


def test_descriptions_of_containers_are_limited() -> None:
    """A long one is ignored and counted, and all together have a limit."""
    containers = Containers()
    containers.describe(b'{"container":{"id":"%s"}}' % (b"a" * (1 << 20)))
    for number in range(300):
        labels = ",".join(f'"{label}":"{"v" * 500}"' for label in range(1500))
        containers.describe(f'{{"container":{{"id":"{number:012}","labels":{{{labels}}}}}}}'.encode())

    assert containers.too_long == 1
    known = [containers.facts(ContainerName("docker", f"{number:012}" * 6)).labels for number in range(300)]
    assert [len(labels or ()) for labels in known[-50:]] == [1024] * 50
    assert known[0] is None


def test_an_empty_member_of_gzip_costs_nothing_but_its_bytes() -> None:
    """Files that are joined from thousands of compressed ones are read like others."""
    data = gzip.compress(scap.capture(), mtime=0) + gzip.compress(b"", mtime=0) * 20_000
    pieces: list[int] = []

    class File(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            pieces.append(len(found))
            return found

    reader = CaptureReader(File(data + gzip.compress(scap.opened(10, 3, "/x"), mtime=0)), "made.scap")
    batches = reader.batches()
    assert next(batches).count == 1
    assert max(pieces) <= 1 << 16
    assert len(pieces) < 12


def test_a_process_with_many_threads_ends_in_linear_time() -> None:
    """Each of them leaves a child, and no event names who adopts it."""
    looked = 0

    class Counted(set[int]):
        def __iter__(self) -> Iterator[int]:
            nonlocal looked
            for each in super().__iter__():
                looked += 1
                yield each

    table = threads.ThreadTable()
    table._groups[10] = Counted()
    for tid in range(10, 2010):
        table.add(threads.CapturedThread(tid, 1, TrackedProcess(10, 0, 0, Credentials(0))))
        table.add(threads.CapturedThread(10_000 + tid, tid, TrackedProcess(10_000 + tid, 0, 0, Credentials(0))))
    for tid in range(2009, 10, -1):
        thread = table.find(tid)
        assert thread is not None
        table.end(thread, -1)
    assert looked < 10 * 2000


def test_parameters_of_extreme_values_are_read() -> None:
    """Every event with parameters of any size, of all ones or of one high bit."""
    for size in (1, 8, 9, 37):
        for fill in (b"\xff", b"\x80"):
            for first in (b"", b"\0", b"\1", b"\2", b"\3"):
                data = (first + fill * size)[:size]
                every = [scap.numbered_event(each.number, 10, [data] * len(each.params)) for each in EVENTS]
                read(scap.capture(scap.opened(10, 3, "/x"), *every))


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
