"""Writes the events of a recording as a capture.

The lists at the beginning of a capture need what all events show, so the recording is read twice: first for them, then
for the events.
"""

import gzip
import json
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Any

from collector.events.texts import absolute
from foundation.files import open_private
from foundation.text import count_of
from lanner.captures import encoding
from lanner.captures.encoding import RecordedEvent, encode
from lanner.captures.format.events import EVENTS, EventVersion
from lanner.captures.state import descriptors as kinds
from schemas.batch import MISSING_INT, Container, EventBatch, Process
from schemas.catalog.system_calls import CLONES, EXECS
from schemas.encoding.recording import RecordingWriter, read_recording

CURRENT: dict[str, EventVersion] = {
    version.name: version for version in EVENTS if version.is_exit and not (version.is_old or version.is_unused)
} | {version.name: version for version in EVENTS if version.name == "procexit" and not version.is_old}
"""The version that is written, by event type."""
_OF_CONTAINER = next(each for each in EVENTS if each.name == "container" and each.is_large)
_OF_USER = next(each for each in EVENTS if each.name == "useradded")
_OF_GROUP = next(each for each in EVENTS if each.name == "groupadded")
_TYPES = {"docker": 0, "lxc": 1, "cri": 6, "containerd": 7, "cri-o": 8, "podman": 11}
_CUSTOM = 5
_MOUNT = ("Source", "Destination", "Mode", "RW", "Propagation")
_MAX_PROCESSES, _MAX_DESCRIPTORS, _MAX_ACCOUNTS = 131_072, 1_000_000, 65_536
_KINDS = {name: kind for kind, name in reversed([*enumerate(kinds.TYPES)]) if name != "<NA>"} | {"file": kinds.FILE_V2}
"""The type that is written by the value of fd.type; of ipv4 and ipv6, that of connections."""
_PROTOCOLS = {name: number for number, name in kinds.PROTOCOLS.items()}
_MAKES_ENDS = frozenset({"connect", "bind"})
_DIRECTORY_CHANGES = frozenset({"chdir", "getcwd"})
_MOST_NAMED = 5
_LEVEL = 6
_LATE = 3_000_000_000
"""Nanoseconds after which no earlier event follows: one waits a second for its container, and one for its program."""
_MOST_WAITING = 100_000
_SUFFIX = ".avro.part"


class CaptureContents:
    """Processes, descriptors, users, containers and addresses, each as at its first event."""

    def __init__(self) -> None:
        self.hostname = ""
        self.first_time = 0
        self._processes: dict[int, tuple[Process, int]] = {}
        """By pid, with the parent's pid."""
        self._threads: dict[int, tuple[int, int]] = {}
        """By tid: the pid, and the tid in its namespace."""
        self._executed: set[int] = set()
        self._late: set[int] = set()
        """Threads that appear after their process has executed a program, which ends the threads before."""
        self._known: set[tuple[int, int]] = set()
        self._descriptors: dict[int, list[bytes]] = {}
        self._cloned_by: dict[int, int] = {}
        self._users: dict[tuple[str, int], tuple[int, str, str, str]] = {}
        self._groups: dict[tuple[str, int], str] = {}
        self._containers: dict[str, Container] = {}
        self._container_ips: dict[str, str] = {}
        self._addresses: dict[str, None] = {}

    def cwd(self, pid: int) -> str | None:
        """Return the working directory of a process at the beginning."""
        found = self._processes.get(pid)
        return None if found is None else found[0].cwd

    def tid(self, event: RecordedEvent) -> int:
        """Return the thread under which an event is written: the main one, if a reader would not know its own."""
        tid = event.number("thread")
        return event.process.pid if tid in self._late else tid

    def add_tables(self, batch: EventBatch) -> None:
        """Gather the processes, users and containers of a batch."""
        self.hostname = batch.hostname
        for process in batch.processes:
            container = batch.containers[process.container] if process.container >= 0 else None
            where = "" if container is None else container.id
            if container is not None and len(self._containers) < _MAX_ACCOUNTS:
                self._containers[where] = container
            self._add_accounts(process, where)
            if process.pid > 0 and len(self._processes) < _MAX_PROCESSES and process.pid not in self._processes:
                above = batch.processes[process.parent].pid if process.parent >= 0 else process.ppid or 0
                self._processes[process.pid] = (process, above)

    def _add_accounts(self, process: Process, where: str) -> None:
        if len(self._users) + len(self._groups) > _MAX_ACCOUNTS:
            return
        gid = process.gid or 0
        if process.uid is not None and process.user not in {None, "<NA>"}:
            facts = (gid, process.user or "", process.home or "", process.shell or "")
            self._users[where, process.uid] = facts
        if process.login_name not in {None, "<NA>", "<NONE>"} and process.loginuid is not None:
            self._users.setdefault((where, process.loginuid), (gid, process.login_name or "", "", ""))
        if process.gid is not None and process.group not in {None, "<NA>"}:
            self._groups[where, process.gid] = process.group or ""

    def add(self, event: RecordedEvent, version: EventVersion, params: list[bytes]) -> None:
        """Gather what an event shows of threads, descriptors and addresses."""
        process, time = event.process, event.number("time")
        self.first_time = min(self.first_time or time, time)
        tid = event.number("thread")
        if tid != process.pid and process.pid > 0 and len(self._threads) + len(self._late) < _MAX_PROCESSES:
            vtid = event.number("vthread")
            if tid not in self._threads and process.pid in self._executed and tid not in self._cloned_by:
                self._late.add(tid)
            self._threads.setdefault(tid, (process.pid, tid if vtid == MISSING_INT else vtid))
        if version.name in CLONES and event.number("res") > 0:
            self._cloned_by[event.number("res")] = process.pid
        elif version.name in EXECS and event.number("res") == 0:
            self._executed.add(process.pid)
        self._add_address(event)
        owner = self._owner(process.pid)
        if version.fd_at >= 0:
            number = int.from_bytes(params[version.fd_at], "little", signed=True)
            if params[version.fd_at] and number >= 0 and (owner, number) not in self._known:
                self._add_descriptor(owner, number, event, version)
        for number in (event.number("fd_num"), event.number("res") if version.creates_fd else -1):
            if number >= 0 and len(self._known) < _MAX_DESCRIPTORS:
                self._known.add((owner, number))

    def _owner(self, pid: int) -> int:
        """Return the process whose descriptors one inherits: itself, unless an event creates it."""
        for _ in range(_MAX_PROCESSES):
            if pid not in self._cloned_by:
                break
            pid = self._cloned_by[pid]
        return pid

    def _add_address(self, event: RecordedEvent) -> None:
        local, process = event.text("local_ip"), event.process
        if local is None or len(self._addresses) > _MAX_ACCOUNTS:
            return
        if process.container < 0:
            self._addresses[local] = None
        else:
            self._container_ips.setdefault(event.batch.containers[process.container].id, local)

    def _add_descriptor(self, pid: int, number: int, event: RecordedEvent, version: EventVersion) -> None:
        """Add a descriptor as it was before the first event that uses it."""
        kind = _KINDS.get(event.text("fd_type") or "")
        if kind is None or len(self._known) >= _MAX_DESCRIPTORS:
            return
        name, ino, rest = event.text("fd_name") or "", event.number("fd_ino"), b""
        if kind in kinds.CONNECTIONS:
            kind, rest = _socket(event, kind, is_new=version.name in _MAKES_ENDS)
        elif kind == kinds.UNIX:
            rest = bytes(16) + encoding.text("" if version.name in _MAKES_ENDS else name)
        elif kind == kinds.FILE_V2:
            rest = struct.pack("<I", 0) + encoding.text(name) + struct.pack("<I", event.number("fd_dev"))
        else:
            rest = encoding.text(name)
        self._known.add((pid, number))
        self._descriptors.setdefault(pid, []).append(encoding.descriptor(number, kind, ino, rest))

    def lists(self) -> Iterator[bytes]:
        """Yield the blocks that come before the events."""
        yield encoding.section(self.hostname)
        yield encoding.interfaces(self._addresses)
        yield encoding.users(self._accounts())
        entries = [
            encoding.process(process, pid, pid if process.vpid is None else process.vpid, above)
            for pid, (process, above) in self._processes.items()
        ]
        for tid, (pid, vtid) in self._threads.items():
            if pid in self._processes and tid not in self._processes:
                process, above = self._processes[pid]
                entries.append(encoding.process(process, tid, vtid, above))
        yield encoding.processes(entries)
        for pid, found in self._descriptors.items():
            yield encoding.descriptors(pid, found)
        yield from self._in_containers()

    def _accounts(self) -> Iterator[bytes]:
        for (where, uid), facts in self._users.items():
            if not where:
                yield encoding.user(uid, *facts)
        for (where, gid), name in self._groups.items():
            if not where:
                yield encoding.group(gid, name)

    def _in_containers(self) -> Iterator[bytes]:
        """Yield the events that describe containers and their users."""
        for container in self._containers.values():
            facts = json.dumps({"container": _facts(container, self._container_ips.get(container.id))})
            yield self._notice(_OF_CONTAINER, facts.encode() + b"\0")
        for (where, uid), (gid, *texts) in self._users.items():
            if where:
                parts = [encoding.texts([each]) for each in (*texts, where)]
                yield self._notice(_OF_USER, struct.pack("<I", uid), struct.pack("<I", gid), *parts)
        for (where, gid), name in self._groups.items():
            if where:
                yield self._notice(_OF_GROUP, struct.pack("<I", gid), encoding.texts([name]), encoding.texts([where]))

    def _notice(self, version: EventVersion, *params: bytes) -> bytes:
        return encoding.event(version, self.first_time, -1, 0, params)


def _socket(event: RecordedEvent, kind: int, *, is_new: bool) -> tuple[int, bytes]:
    protocol = struct.pack("<B", _PROTOCOLS.get(event.text("l4proto") or "", 0))
    width = 4 if kind == kinds.IPV4 else 16
    local, remote = (
        (encoding.packed_ip(event.text(f"{side}_ip"), width), max(event.number(f"{side}_port"), 0) % 65536)
        for side in ("local", "remote")
    )
    if is_new:
        local = remote = (bytes(width), 0)
    elif event.text("remote_ip") is None and event.text("local_ip") is not None:
        server = kinds.SERVER4 if kind == kinds.IPV4 else kinds.SERVER6
        return server, local[0] + struct.pack("<H", local[1]) + protocol
    return kind, local[0] + remote[0] + struct.pack("<HH", local[1], remote[1]) + protocol


def _facts(container: Container, ip: str | None) -> dict[str, Any]:
    return {
        "id": container.id,
        "full_id": container.full_id,
        "type": _TYPES.get(container.type, _CUSTOM),
        "name": container.name or "",
        "image": container.image or "",
        "imageid": container.image_id or "",
        "imagerepo": container.image_repository or "",
        "imagetag": container.image_tag or "",
        "imagedigest": container.image_digest or "",
        "privileged": bool(container.privileged),
        "created_time": (container.start_ts or 0) // 1_000_000_000,
        "ip": container.ip or ip or "",
        "User": container.user or "",
        "host_pid": bool(container.host_pid),
        "host_network": bool(container.host_network),
        "host_ipc": bool(container.host_ipc),
        "is_pod_sandbox": False,
        "labels": dict(container.labels or ()),
        "pod_sandbox_id": container.pod_sandbox_id or "",
        "pod_sandbox_labels": dict(container.pod_labels or ()),
        "Mounts": [
            dict(zip(_MOUNT, (each.source, each.dest, each.mode, each.rw, each.propagation), strict=True))
            for each in container.mounts or ()
        ],
    }


@dataclass(slots=True)
class WrittenCapture:
    """The contents of a capture, and the parts that it lacks."""

    events: int = 0
    repeats: int = 0
    """Further equal events that the recording counts instead of storing them; they are not written."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Events without a version in the event table, by type."""
    types: set[str] = field(default_factory=set)

    def lines(self) -> list[str]:
        """Return sentences for people."""
        lines = [
            f"the capture holds {count_of(self.events, 'event')} of {count_of(len(self.types), 'type')}",
            "absent, because not collected: events of other types, processes and descriptors that no event shows",
        ]
        if self.repeats:
            lines.append(f"{count_of(self.repeats, 'repeat')} of equal events are not written")
        if self.unknown:
            names = ", ".join(name for name, _ in self.unknown.most_common(_MOST_NAMED))
            lines.append(f"no form in captures: {count_of(self.unknown.total(), 'event')} ({names})")
        return lines


def write_capture(
    file: Path, batches: Callable[[], Iterable[EventBatch]], is_selected: Callable[[int], bool] = lambda _: True
) -> WrittenCapture:
    """Write a new capture that only its owner may read, compressed if its name ends with ``.gz``. Raises OSError.

    batches: returns the batches of one host, from the first one each time; is_selected: returns whether an event of a
    time is written, ns since the epoch.
    """
    found, contents = WrittenCapture(), CaptureContents()
    for event in _events(batches(), is_selected, contents):
        version = CURRENT.get(event.text("type") or "")
        if version is not None:
            contents.add(event, version, encode(event, version, None))
    with (
        os.fdopen(open_private(file, os.O_WRONLY | os.O_TRUNC), "wb") as plain,
        closing(gzip.GzipFile("", "wb", _LEVEL, plain, 0) if file.suffix == ".gz" else plain) as output,
    ):
        for block in contents.lists():
            output.write(block)
        for block in _written(_events(batches(), is_selected), contents, found):
            output.write(block)
    return found


def _events(
    batches: Iterable[EventBatch], is_selected: Callable[[int], bool], contents: CaptureContents | None = None
) -> Iterator[RecordedEvent]:
    """Yield the selected events by time, as readers need them: those that waited for facts come late in a recording.

    contents: gathers the tables of the batches that have any.
    """
    waiting: list[tuple[int, int, RecordedEvent]] = []
    order, newest = count(), 0
    for batch in batches:
        chosen = [(time, index) for index, time in enumerate(batch.columns["time"]) if is_selected(time)]
        if chosen and contents is not None:
            contents.add_tables(batch)
        for time, index in chosen:
            heappush(waiting, (time, next(order), RecordedEvent(batch, index)))
            newest = max(newest, time)
        while waiting and (waiting[0][0] < newest - _LATE or len(waiting) > _MOST_WAITING):
            yield heappop(waiting)[2]
    while waiting:
        yield heappop(waiting)[2]


def _written(events: Iterable[RecordedEvent], contents: CaptureContents, found: WrittenCapture) -> Iterator[bytes]:
    directories: dict[int, str | None] = {}
    for event in events:
        name = event.text("type") or ""
        version = CURRENT.get(name)
        if version is None:
            found.unknown[name] += 1
            continue
        pid = event.process.pid
        cwd = directories.get(pid) or contents.cwd(pid)
        params = encode(event, version, cwd)
        if name in _DIRECTORY_CHANGES and event.number("res") >= 0:
            directories[pid] = absolute(cwd, event.arguments().get("path", (None, 0))[0])
        found.events += 1
        found.repeats += event.number("repeats")
        found.types.add(name)
        yield encoding.event(version, event.number("time"), contents.tid(event), event.number("cpu"), params)


class CaptureSpool:
    """The batches of a capture that is not complete yet. Raises OSError if a file can't be created.

    The capture is created at once, so that a missing folder or right shows before anything is recorded.
    """

    def __init__(self, file: Path) -> None:
        self.path = file.with_name(file.name + _SUFFIX)
        """The recording, which can be replayed if the capture can't be written."""
        self.file = file
        os.close(open_private(file, os.O_WRONLY))
        self.writer = RecordingWriter(self.path, level=1)
        """Takes the batches."""

    def finish(self, host_id: str = "", is_selected: Callable[[int], bool] = lambda _: True) -> WrittenCapture:
        """Write the capture, and delete the recording. Raises OSError.

        host_id: the host whose events are written; empty for that of the first batch. is_selected: as for
        `write_capture`.
        """
        self.writer.close()
        first = next(read_recording(self.path), None)
        host = host_id or ("" if first is None else first.host_id)
        written = write_capture(
            self.file, lambda: (each for each in read_recording(self.path) if each.host_id == host), is_selected
        )
        self.path.unlink()
        return written
