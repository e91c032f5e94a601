"""Turns the events of a capture into the rows of event batches, following the state of the captured host."""

import hashlib
from collections.abc import Iterator

from collector.events.batch_builder import BatchBuilder
from collector.events.system_calls import BY_EVENT
from collector.processes.process import TrackedProcess
from collector.processes.rows import ProcessRows
from lanner.captures.events import CapturedEvent
from lanner.captures.lists import ListedDescriptor, Machine
from lanner.captures.state.accounts import CaptureAccounts, Containers
from lanner.captures.state.descriptors import LOWER_LAYER, SERVERS, UPPER_LAYER, End, OpenDescriptor, listed
from lanner.captures.state.effects import CLONES, ProcessEffects
from lanner.captures.state.interfaces import Interfaces
from lanner.captures.state.opened import DescriptorEffects, Subject
from lanner.captures.state.threads import CapturedThread, ThreadTable
from lanner.captures.table import system_call_name
from lanner.captures.values import ParameterReader
from schemas.batch import EventBatch, Process
from schemas.columns import MISSING_INT, EventBit

_MAX_EVENTS, _MAX_BYTES = 4096, 8 << 20
_COLLECTOR = "capture"
_BIT = {bit.name: int(bit) for bit in EventBit}
_OPENS = frozenset({"open", "openat", "openat2", "open_by_handle_at"})
_CREATED, _CREATING, _EXECUTABLE = 16384, 4 | 8192, 0o111
_GENERIC = "syscall"
_ROLES = "nst"
_PATHS = {
    call.event: tuple(
        (role, argument.name)
        for role, argument in zip(
            call.path_roles,
            sorted((each for each in call.arguments if each.kind in ("path1", "path2")), key=lambda each: each.kind),
            strict=False,
        )
    )
    for call in BY_EVENT.values()
} | {"execve": (("n", "filename"),)}
"""The roles of paths in fs.path.*, and the parameters that hold them."""
_NO_EVENTS = frozenset(
    (
        *("container", "cpu_hotplug", "drop", "infra", "notification", "pluginevent", "scapevent"),
        *("groupadded", "groupdeleted", "useradded", "userdeleted"),
    )
)
"""Events that change or describe the capture itself, and that Falco doesn't evaluate."""


class CaptureAssembler:
    """The batch under construction and the state behind it."""

    def __init__(self) -> None:
        self.threads = ThreadTable()
        self.accounts = CaptureAccounts()
        self.interfaces = Interfaces()
        self._containers = containers = Containers()
        self._reader = ParameterReader(self.threads, self.accounts)
        self._processes = ProcessEffects(self.threads, self.accounts, containers)
        self._descriptors = DescriptorEffects(self.threads, self._reader, self.interfaces)
        self._rows = ProcessRows(self.threads, self.accounts, containers)
        self._builder = BatchBuilder()
        self._machine = Machine()
        self._nobody_row = -1
        self._number = 0
        self._first_number = 1
        self._sequence = 0
        self._start = self._time = 0

    @property
    def count(self) -> int:
        """Number of events in the batch."""
        return self._builder.count

    def set_machine(self, machine: Machine) -> None:
        """Take over the description of the host."""
        self._machine = machine
        self.threads.boot_time = machine.boot_time

    def list_descriptor(self, given: ListedDescriptor) -> None:
        """Add a descriptor of the list at the beginning."""
        thread = self.threads.find(given.tid)
        if thread is not None:
            self.threads.add_descriptor(thread, given.number, listed(given))

    def take(self, event: CapturedEvent) -> Iterator[EventBatch]:
        """Apply an event and add it; yield the batches that are full."""
        self._number += 1
        thread = self.threads.find(event.tid)
        if thread is None and event.version.is_exit and event.version.name not in CLONES:
            thread = self.threads.add_unknown(event.tid)
        subject = self._descriptors.apply(event, thread)
        thread = self._processes.apply(event, thread)
        if event.version.is_exit or (not event.version.is_joined and event.version.name not in _NO_EVENTS):
            if self._builder.count == 0:
                self._first_number = self._number
            elif self._first_number + self._builder.count != self._number:
                # Numbers within a batch have no gaps.
                yield self.finish()
                self._first_number = self._number
            self._add(event, thread, subject)
        self._descriptors.after(event, thread, subject)
        self._processes.after(event, thread)
        if self._builder.count >= _MAX_EVENTS or self._builder.size + self._rows.size >= _MAX_BYTES:
            yield self.finish()

    def _add(self, event: CapturedEvent, thread: CapturedThread | None, subject: Subject) -> None:
        self._time = event.time
        self._start = self._start or event.time
        version = event.version
        intern = self._builder.intern
        name, values = version.name, self._reader.values(event, thread)
        names = tuple(param.name for param in version.params[: len(values)])
        if name == _GENERIC:
            native = event.number_of("nativeID") if event.bytes_of("nativeID") else None
            name = system_call_name(event.number_of("ID"), native)
            values, names = [], ()
        elif name == "asyncevent":
            name = event.text("name") or name
        entry = None if thread is None else self._entry(thread)
        bits = _BIT["PROCESS_STALE"] if entry is None or entry.is_stale else 0
        result = event.result
        if version.has_result:
            bits |= _BIT["HAS_RES"] | (_BIT["FAILED"] if result < 0 else 0)
        bits |= self._bits(name, event, subject)
        local, remote = self._ends(subject.descriptor, entry)
        if local is not None and subject.descriptor is not None:
            bits |= _BIT["HAS_ROLE"] | (_BIT["IS_SERVER"] if local is subject.descriptor.target else 0)
        vtid = MISSING_INT if thread is None else thread.vtid
        process = self._nobody() if entry is None else self._rows.row(entry)
        head = (process, _clamped(event.tid), _clamped(vtid), event.cpu, result, bits, 0)
        data = event.bytes_of("data") if name != "asyncevent" else b""
        buffer = intern(data.decode("utf-8", "surrogateescape")) if data and thread is not None else 0
        numbers, texts = _descriptor_columns(subject, local, remote)
        row = (*head, *numbers, intern(name), *map(intern, texts), *self._paths(name, event, thread), buffer)
        self._builder.add(event.time, row, names, values)

    def _nobody(self) -> int:
        """Return the row of events without a thread."""
        if self._nobody_row < 0:
            self._nobody_row = len(self._rows.processes)
            self._rows.processes.append(Process(pid=-1))
        return self._nobody_row

    def _entry(self, thread: CapturedThread) -> TrackedProcess:
        """Return a thread's facts, with the directory of its process."""
        entry = thread.entry
        if not thread.is_main:
            cwd = self.threads.main(thread).entry.context.cwd
            if cwd != entry.context.cwd:
                self.threads.update(entry, cwd=cwd)
        return entry

    def _ends(self, descriptor: OpenDescriptor | None, entry: TrackedProcess | None) -> tuple[End | None, End | None]:
        """Return the local and the remote end of a socket: the client's is local if it has an address of this host."""
        if descriptor is None or entry is None or descriptor.is_server is None:
            return None, None
        source, target = descriptor.source, descriptor.target
        if descriptor.type in SERVERS:
            return target, None
        if source is None or self.interfaces.is_local(source[0], self._containers.ip(entry.container)):
            return source, target
        return target, source

    def _bits(self, name: str, event: CapturedEvent, subject: Subject) -> int:
        bits = 0
        if name == "creat":
            bits = _BIT["OPEN_WRITE"] | _BIT["OPEN_CREATE"]
            bits |= _BIT["OPEN_EXEC"] if event.number_of("mode") & _EXECUTABLE else 0
        elif name in _OPENS:
            flags = event.number_of("flags")
            bits = (_BIT["OPEN_READ"] if flags & 1 else 0) | (_BIT["OPEN_WRITE"] if flags & 2 else 0)
            bits |= _BIT["OPEN_CREATE"] if flags & _CREATED else 0
            if flags & _CREATING and event.number_of("mode") & _EXECUTABLE:
                bits |= _BIT["OPEN_EXEC"]
        descriptor = subject.descriptor
        if descriptor is None:
            return bits
        bits |= _BIT["CONNECTED"] if descriptor.is_connected else 0
        bits |= _BIT["NAME_CHANGED"] if descriptor.is_name_changed else 0
        bits |= _BIT["UPPER_LAYER"] if descriptor.flags & UPPER_LAYER else 0
        return bits | (_BIT["LOWER_LAYER"] if descriptor.flags & LOWER_LAYER else 0)

    def _paths(self, name: str, event: CapturedEvent, thread: CapturedThread | None) -> tuple[int, ...]:
        found = [0] * 6
        for role, param in _PATHS.get(name, ()):
            at = event.version.indices.get(param, -1)
            raw = event.text(param)
            if 0 <= at < len(event.params) and raw is not None:
                spec = event.version.params[at]
                path: str | None = raw
                if spec.type in {"FSPATH", "FSRELPATH"}:
                    path = self._reader.path(event, spec, event.params[at], thread)
                place = 2 * _ROLES.index(role)
                found[place], found[place + 1] = self._builder.intern(path), self._builder.intern(raw)
        return tuple(found)

    def finish(self) -> EventBatch:
        """Return the batch and begin the next one."""
        builder, self._builder = self._builder, BatchBuilder()
        processes, containers = self._rows.take()
        self._nobody_row = -1
        self._sequence += 1
        identity = hashlib.sha256(
            f"{self._machine.hostname}\0{self._machine.boot_time}".encode("utf-8", "surrogateescape")
        ).hexdigest()[:32]
        return EventBatch(
            host_id=identity,
            hostname=self._machine.hostname,
            boot_id=identity,
            collector_start=self._start,
            sequence=self._sequence,
            created=self._time,
            collector_version=_COLLECTOR,
            kernel="",
            first_number=self._first_number,
            count=builder.count,
            strings=builder.strings,
            processes=processes,
            containers=containers,
            columns=builder.columns(),
        )


def _descriptor_columns(
    subject: Subject, local: End | None, remote: End | None
) -> tuple[tuple[int, ...], tuple[str | None, ...]]:
    descriptor, number = subject.descriptor, subject.number
    if descriptor is None:
        numbers = (MISSING_INT if number is None else _clamped(number), 0, 0, -1, -1)
        name = subject.path or ("" if number is not None else None)
        return numbers, (None, name, subject.raw_path, None, None, None, None, None)
    numbers = (
        MISSING_INT if number is None else _clamped(number),
        descriptor.dev,
        descriptor.ino,
        -1 if local is None else local[1],
        -1 if remote is None else remote[1],
    )
    texts = (
        descriptor.type_name,
        descriptor.name,
        descriptor.raw_name,
        None,
        None if local is None else local[0],
        None if remote is None else remote[0],
        descriptor.protocol_name,
        None,
    )
    return numbers, texts


def _clamped(number: int) -> int:
    """Return a number as one of 32 bits."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)
