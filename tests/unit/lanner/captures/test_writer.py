"""Captures written from batches, and read back."""

import io
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lanner.captures.format.events import SIZES
from lanner.captures.reader import CaptureReader
from lanner.captures.writer import CURRENT, write_capture
from lanner.recorder.store import from_files
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.fields.extract import extract
from processor.loading import RuleFile, load_rules
from schemas.batch import EventBatch
from schemas.catalog.fields import ParamSpec
from tests.unit.lanner.captures.format import scap_files as scap
from tests.unit.lanner.captures.test_reader import ENDS
from tests.unit.processor.batches import batch_of
from tests.unit.recordings import shadow_read
from tests.unit.rules.shipped import RULES

ACTIONS = Path("rules/acts.avro")
ADDRESS = b"\2" + bytes((192, 0, 2, 7)) + struct.pack("<H", 443)
BYTES = {
    **dict.fromkeys(("FSPATH", "FSRELPATH", "CHARBUF"), b"/a/word\0"),
    "SOCKADDR": ADDRESS,
    "SOCKTUPLE": ENDS,
    "DYN": b"\0" + struct.pack("<Q", 5),
}
FIELDS = (
    *("evt.type", "evt.args", "evt.rawtime", "evt.cpu", "evt.buffer", "thread.tid", "thread.vtid"),
    *("fd.name", "fd.num", "fd.type", "fd.cip", "fd.sport", "fd.l4proto", "fs.path.name", "fs.path.target"),
    *("proc.name", "proc.cmdline", "proc.exepath", "proc.cwd", "proc.pid", "proc.aname[1]", "user.name", "user.uid"),
    *("thread.cap_effective", "proc.tty", "proc.sid", "container.id", "container.name", "container.image.tag"),
)


def value_of(param: ParamSpec) -> bytes:
    """Return an encoded parameter."""
    size = SIZES.get(param.type)
    if size is None:
        lists = b"cpu=/\0" if param.name == "cgroups" else b"one\0two\0"
        own = lists if param.name in {"args", "env", "cgroups"} else b"data"
        return own if param.type == "BYTEBUF" and param.name != "msgcontrol" else BYTES.get(param.type, b"")
    return bytes(size) if param.name == "res" else (3).to_bytes(size, "little")


def fields(batches: Iterator[EventBatch], *names: str) -> list[tuple[Any, ...]]:
    """Return fields of all events."""
    split = [(name.partition("[")[0], name.partition("[")[2].rstrip("]") or None) for name in names]
    return [tuple(extract(batch, i, *each) for each in split) for batch in batches for i in range(batch.count)]


def read(data: bytes) -> Iterator[EventBatch]:
    """Return the batches of a capture."""
    return CaptureReader(io.BytesIO(data), "made.scap").batches()


def written(folder: Path, data: bytes, name: str = "out.scap") -> bytes:
    """Return a capture that is written from the events of another one."""
    write_capture(folder / name, lambda: read(data))
    return (folder / name).read_bytes()


@pytest.mark.parametrize("name", sorted(set(CURRENT) - {"syscall"}))
def test_each_event_is_read_back_as_it_was(name: str, tmp_path: Path) -> None:
    """Type, arguments, time, descriptor and process are the same, for every event of the table."""
    version = CURRENT[name]
    params = [value_of(param) for param in version.params]
    if name in {"setsockopt", "getsockopt"}:
        params[version.indices["val"]] = b"\3" + struct.pack("<Q", 5)
    kind = 0x221 if version.is_large else 0x216
    if name in {"clone", "clone3", "fork", "vfork"}:
        params[0] = struct.pack("<q", 20)
    parts = [scap.users((0, "root")), scap.opened(10, 3, "/x")]
    data = scap.capture(*parts, scap.numbered_event(version.number, 10, params, block_type=kind))

    assert fields(read(written(tmp_path, data)), *FIELDS) == fields(read(data), *FIELDS)


def test_a_container_and_its_users_are_described_again(tmp_path: Path) -> None:
    """Their names and images, by events at the beginning that no rule sees."""
    containerized = [event for batch in _actions() for event in fields(iter([batch]), *FIELDS) if event[-3] != "host"]
    copy = tmp_path / "copy.scap.gz"
    write_capture(copy, _actions)

    found = [event for event in fields(_batches(copy), *FIELDS) if event[-3] != "host"]
    own = ("user.name", "user.uid", "container.id", "container.name", "container.image.tag")
    places = [FIELDS.index(name) for name in own]
    assert Counter(tuple(event[at] for at in places) for event in found) == Counter(
        tuple(event[at] for at in places) for event in containerized
    )


def _actions() -> Iterator[EventBatch]:
    return _batches(ACTIONS)


def _batches(path: Path) -> Iterator[EventBatch]:
    return (stored.batch for stored in from_files((path,)))


LOST = {
    **dict.fromkeys(("Port scan", "Connect to container engine from container"), "the address of a failed connection"),
    "Person equips container and connects": "the address of a failed connection",
    "Read sensitive file untrusted": "the kernel's path of a file that is opened through a link",
    "Set file capabilities": "events of setxattr",
    "Watch opened files by fanotify": "events of fanotify_init",
    "Switch off swap": "events of swapoff",
    "Set system clock": "events of clock_settime",
    "Set file times back": "events of utimensat",
}
"""Rules whose alerts a capture can't give, with what it lacks."""
GAINED = {"Shell spawned by text tool": "the script that a parent runs, here ldd"}
"""Rules that except something by what a capture lacks."""
STATEFUL = frozenset({"Decoded payload piped to shell", "Interactive reconnaissance"})
"""Rules whose last event may be another one: in a recording, those of new programs come late."""


def test_recorded_actions_raise_the_same_alerts_as_a_capture(tmp_path: Path) -> None:
    """All events are there, and all alerts, but those that need what a capture can't express."""
    copy = tmp_path / "acts.scap.gz"
    capture = write_capture(copy, _actions)
    path = RULES / "lanner_rules.yaml"
    loaded = load_rules([RuleFile(path.name, path.read_bytes())])
    rules = compile_ruleset([rule for rule in loaded.rules if rule.enabled], loaded.macros)

    def alerts(batches: Iterator[EventBatch]) -> Counter[tuple[str, int]]:
        evaluator = Evaluator(rules)
        found = [alert for batch in batches for alert in evaluator.replay(batch)]
        return Counter((alert.rule, 0 if alert.rule in STATEFUL else alert.time) for alert in found)

    before, after = alerts(_actions()), alerts(_batches(copy))
    assert capture.events == sum(batch.count for batch in _batches(copy))
    assert capture.events + capture.unknown.total() == sum(batch.count for batch in _actions())
    assert set(capture.unknown) == {"clock_settime", "fanotify_init", "setxattr", "swapoff", "utimensat"}
    assert {rule for rule, _ in after - before} <= set(GAINED)
    assert {rule for rule, _ in before - after} == set(LOST)
    assert (before - after).total() <= len(LOST)
    assert before.total() > 40


def test_only_selected_events_are_written(tmp_path: Path) -> None:
    """Such as those of a time."""
    data = scap.capture(*[scap.opened(10, 3, f"/{at}", at=at) for at in range(5)])
    found = write_capture(tmp_path / "out.scap", lambda: read(data), lambda time: time > scap.BEGINNING + 2)
    assert found.events == 2
    assert fields(read((tmp_path / "out.scap").read_bytes()), "fd.name") == [("/3",), ("/4",)]


def test_events_are_written_by_their_times(tmp_path: Path) -> None:
    """In a recording, an event that waited for what its program is comes after later ones, also in another batch."""
    second = 10**9
    first = batch_of({"type": "openat", "time": second + 2}, {"type": "openat", "time": second + 1})
    batches = [first, batch_of({"type": "openat", "time": second}), batch_of({"type": "openat", "time": 9 * second})]
    write_capture(tmp_path / "out.scap", lambda: iter(batches))
    times = [time for (time,) in fields(read((tmp_path / "out.scap").read_bytes()), "evt.rawtime")]
    assert times == [second, second + 1, second + 2, 9 * second]


def test_what_a_capture_lacks_is_stated(tmp_path: Path) -> None:
    """Repeats, which a recording counts, and types that the event table doesn't have."""
    later = batch_of({"type": "later", "repeats": 0}, {"type": "openat", "repeats": 4})
    found = write_capture(tmp_path / "out.scap", lambda: iter([later]))
    assert found.lines() == [
        "the capture holds 1 event of 1 type",
        "absent, because not collected: events of other types, processes and descriptors that no event shows",
        "4 repeats of equal events are not written",
        "no form in captures: 1 event (later)",
    ]


def test_a_relative_path_is_completed_where_its_directory_is_not_recorded(tmp_path: Path) -> None:
    """The process has changed its directory without an event."""
    batch = shadow_read()
    moved = replace(batch.processes[1], cwd="/etc")
    relative = replace(batch, processes=[batch.processes[0], moved], strings=[*batch.strings, "shadow"])
    relative.columns["fd_name_raw"] = [len(batch.strings)]
    batches = [batch_of({"type": "close"}, processes=[replace(moved, cwd="/", parent=-1)]), relative]
    write_capture(tmp_path / "out.scap", lambda: iter(batches))
    assert fields(read((tmp_path / "out.scap").read_bytes()), "fd.name")[1:] == [("/etc/shadow",)]


def test_a_thread_that_began_after_an_exec_is_written_as_the_main_one(tmp_path: Path) -> None:
    """A reader would take the thread of the list for one that the exec has ended."""
    executed = {"type": "execve", "thread": 4711, "args": {"res": ("0", 0)}}
    own = {"type": "chdir", "thread": 4800, "args": {"res": ("0", 0)}}
    batch = batch_of(executed, own, processes=[replace(shadow_read().processes[1], parent=-1)])
    write_capture(tmp_path / "out.scap", lambda: iter([batch]))
    found = fields(read((tmp_path / "out.scap").read_bytes()), "thread.tid", "proc.pid")
    assert found == [(4711, 4711), (4711, 4711)]
