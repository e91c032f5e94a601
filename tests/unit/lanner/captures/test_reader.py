"""Reading with exclusions against reading everything: the same state, and the same alerts."""

import gzip
import io
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.captures.format.blocks import BadCapture
from lanner.captures.reader import CaptureReader
from processor.compiler.batch import Excludes
from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.evaluator import Evaluator
from processor.language.parser import parse
from tests.unit.lanner.captures.format import scap_files as scap
from tests.unit.processor.plain_rules import DetectionRule

PATHS = ("/etc/shadow", "/tmp/../etc/shadow", "x", "", "/usr/lib/x.so", "../y/")
NUMBERS = st.sampled_from((-1, 0, 3, 4, 5))
RESULTS = st.sampled_from((-2, 0, 3, 4, 5))
TIDS = st.sampled_from((10, 11, 20, 77))
ENDS = b"\2" + bytes((10, 0, 0, 5)) + struct.pack("<H", 41000) + bytes((192, 0, 2, 7)) + struct.pack("<H", 443)


def _opens(name: str) -> st.SearchStrategy[bytes]:
    values = {
        "fd": RESULTS,
        "name": st.sampled_from(PATHS),
        "flags": st.sampled_from((1, 2, 3, 4097, 16385, 5 | 1 << 15, 1025)),
        "mode": st.sampled_from((0, 0o755)),
        "dev": st.just(8),
        "ino": st.just(99),
    }
    if name != "open":
        values["dirfd"] = st.sampled_from((-100, 3, 4, 99))
    if name == "openat2":
        values["resolve"] = st.just(0)
    return st.builds(lambda tid, given: scap.event(name, tid, given), TIDS, st.fixed_dictionaries(values))


def _events(name: str, **values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda tid, given: scap.event(name, tid, given), TIDS, st.fixed_dictionaries(values))


def _entry(name: str) -> st.SearchStrategy[bytes]:
    number = scap.version(name).number - 1
    params = [scap.encoded("FD", -100), b"/entry\0", scap.encoded("FLAGS32", 1), scap.encoded("UINT32", 0)]
    return TIDS.map(lambda tid: scap.numbered_event(number, tid, params))


def _former(name: str, *params: bytes, is_exit: bool) -> st.SearchStrategy[bytes]:
    """Return an event as it was when exits lacked what entries had."""
    number = scap.version(name).number - (not is_exit)
    return TIDS.map(lambda tid: scap.numbered_event(number, tid, list(params)))


ZERO, THREE, SIZE = (scap.encoded(kind, value) for kind, value in (("FD", 0), ("FD", 3), ("UINT32", 4)))
FORMER = st.one_of(
    _former("futex", bytes(8), bytes(2), bytes(8), is_exit=False),
    _former("futex", ZERO, is_exit=True),
    _former("read", THREE, SIZE, is_exit=False),
    _former("read", ZERO, b"data", is_exit=True),
    _former("close", THREE, is_exit=False),
    _former("close", ZERO, is_exit=True),
    _former("fstat", THREE, is_exit=False),
    _former("fstat", ZERO, is_exit=True),
    TIDS.map(lambda tid: scap.event("switch", tid, {"next": 1}, is_exit=False)),
)
EVENTS = st.one_of(
    FORMER,
    *map(_opens, ("open", "openat", "openat2")),
    _entry("openat"),
    _events("close", res=RESULTS, fd=NUMBERS),
    _events("fcntl", res=RESULTS, fd=NUMBERS, cmd=st.sampled_from((1, 2, 3, 4, 26)), arg=st.integers(0, 2)),
    _events("read", res=RESULTS, data=st.binary(max_size=4), fd=NUMBERS, size=st.just(4)),
    _events("socket", fd=RESULTS, domain=st.sampled_from((1, 2, 10)), type=st.just(1), proto=st.just(0)),
    _events("connect", res=st.sampled_from((0, -115, -1)), tuple=st.just(ENDS), fd=NUMBERS),
    _events("sendto", res=RESULTS, data=st.just(b"x"), fd=NUMBERS, size=st.just(1), tuple=st.sampled_from((b"", ENDS))),
    _events("dup2", res=RESULTS, oldfd=NUMBERS, newfd=NUMBERS),
    _events("futex", res=RESULTS, addr=st.just(1), op=st.just(0), val=st.just(0)),
    _events("chdir", res=RESULTS, path=st.sampled_from(("/var", ".."))),
    _events("mprotect", res=RESULTS),
    _events("syscall", ID=st.sampled_from((1, 2)), nativeID=st.just(3)),
    st.sampled_from([b"".join(scap.cloned(20, 10, "bash")), scap.executed(20, "cat", b"")]),
)
CONDITIONS = (
    "evt.type in (open, openat) and fd.name = /etc/shadow",
    "evt.type = openat2 and evt.is_open_write = true and proc.name = cat",
    "evt.type in (connect, dup2) and fd.sport = 443",
    "evt.type = close and fd.name startswith /etc",
    "evt.type in (open, openat, openat2) and evt.failed = true and not fd.name contains lib",
)


def _rules(*conditions: str) -> CompiledRuleset:
    output = "%evt.num %evt.type %evt.args %fd.name %proc.cmdline %evt.reltime"
    rules = [DetectionRule(text, parse(text), output) for text in conditions]
    return compile_ruleset(rules, {})


def _reader(data: bytes, exclusions: dict[str, Excludes] | None) -> CaptureReader:
    return CaptureReader(io.BytesIO(data), "made.scap", exclusions)


def _state(reader: CaptureReader) -> dict[int, Any]:
    threads = reader._assembler.threads
    found = {}
    for tid, thread in threads._threads.items():
        cwd = threads.main(thread).entry.context.cwd
        found[tid] = (thread.ptid, thread.entry.program, thread.entry.credentials, cwd, thread.descriptors)
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_excluded_events_change_the_state_as_others_do(parts: list[bytes]) -> None:
    """Threads and descriptors are the same, whether no rule needs any event, or all are decoded."""
    data = scap.capture(*parts, listed=scap.processes(scap.process(10), scap.process(10, tid=11)))
    full, quick = _reader(data, None), _reader(data, {})
    events = sum(batch.count for batch in full.batches())

    assert sum(batch.count for batch in quick.batches()) == 0
    assert quick.excluded == events
    assert _state(quick) == _state(full)


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=12), st.sets(st.sampled_from(CONDITIONS), min_size=1))
def test_alerts_are_the_same_with_and_without_exclusions(parts: list[bytes], conditions: set[str]) -> None:
    """Also their event numbers, arguments and times since the first event."""
    data = scap.capture(*parts, listed=scap.processes(scap.process(10), scap.process(10, tid=11)))
    rules = _rules(*sorted(conditions))

    def alerts(reader: CaptureReader) -> list[tuple[str, str, Any]]:
        evaluator = Evaluator(rules)
        return [(each.rule, each.output, each.event) for batch in reader.batches() for each in evaluator.replay(batch)]

    assert alerts(_reader(data, dict(rules.exclusions))) == alerts(_reader(data, None))


def test_events_that_no_rule_needs_are_not_decoded() -> None:
    """Wrong sizes of parameters are not even noticed in them."""
    number = scap.version("mprotect").number
    wrong = scap.block(0x216, struct.pack("<HQqIHI8H", 1, scap.BEGINNING, 10, 42, number, 4, *[9] * 4, *[0] * 4))
    data = scap.capture(scap.opened(10, 3, "/x"), wrong, scap.opened(10, 3, "/etc/shadow"))
    reader = _reader(data, dict(_rules(CONDITIONS[0]).exclusions))

    assert [(batch.count, batch.first_number) for batch in reader.batches()] == [(1, 3)]
    with pytest.raises(BadCapture, match="mprotect"):
        list(_reader(data, None).batches())


def test_a_batch_with_gaps_states_the_number_of_each_event() -> None:
    """evt.num counts excluded events too."""
    parts = [scap.opened(10, 3, path) for path in ("/x", "/etc/shadow", "/y", "/etc/shadow")]
    rules = _rules(CONDITIONS[0])
    reader = _reader(scap.capture(*parts), dict(rules.exclusions))
    found = [alert.output.split()[0] for batch in reader.batches() for alert in Evaluator(rules).replay(batch)]
    assert found == ["2", "4"]


def test_compressed_files_may_be_concatenated() -> None:
    """A second member follows the first one, in the middle of what is read at once."""
    data = gzip.compress(scap.capture(*[scap.opened(10, 3, "/x")] * 2000), mtime=0)
    assert sum(batch.count for batch in _reader(data * 3, None).batches()) == 6000


@pytest.mark.parametrize("is_compressed", [False, True])
def test_events_across_the_pieces_of_a_file_are_read_once(*, is_compressed: bool) -> None:
    """A file is read in pieces, which end within blocks."""
    parts = [scap.opened(10, 3, "/etc/shadow" if at % 500 == 7 else f"/lib/{at}") for at in range(3000)]
    data = scap.capture(*parts)
    rules = _rules(CONDITIONS[0])
    reader = _reader(gzip.compress(data) if is_compressed else data, dict(rules.exclusions))
    evaluator = Evaluator(rules)

    found = [alert.output.split()[0] for batch in reader.batches() for alert in evaluator.replay(batch)]

    assert found == [str(at + 1) for at in range(7, 3000, 500)]
    assert reader.excluded == len(parts) - len(found)
