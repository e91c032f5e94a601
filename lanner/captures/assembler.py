"""Turns the events of a capture into the rows of event batches, following the state of the captured host."""

import hashlib
from collections.abc import Mapping

from collector.events.batch_builder import BatchBuilder
from collector.events.system_calls import BY_EVENT
from collector.processes.process import TrackedProcess
from collector.processes.rows import ProcessRows
from foundation.text import count_of
from lanner.captures.format.events import GENERIC, CapturedEvent, system_call_name
from lanner.captures.format.lists import ListedDescriptor, Machine
from lanner.captures.quick import Quick, QuickHandlers
from lanner.captures.state.accounts import CaptureAccounts, Containers
from lanner.captures.state.descriptors import (
    INTERNET,
    LOWER_LAYER,
    SERVERS,
    UPPER_LAYER,
    End,
    Interfaces,
    OpenDescriptor,
    listed,
)
from lanner.captures.state.effects import ProcessEffects
from lanner.captures.state.opened import OPENS, DescriptorEffects, Subject, creat_bits, open_bits
from lanner.captures.state.parameters import ParameterReader, absolute_path
from lanner.captures.state.threads import CapturedThread, ThreadTable
from processor.compiler.batch import Excludes
from schemas.batch import MISSING_INT, NOBODY, EventBatch, EventBit, Process
from schemas.catalog.system_calls import CLONES

_MAX_EVENTS, _MAX_BYTES, _MAX_PASSED = 4096, 8 << 20, 8192
"""Limits of a batch: events, approximate bytes, and events that are read for it."""
_COLLECTOR = "capture"
_LAST_ID = 0xFFFFFFFF
"""Ids of threads and processes beyond it are not the kernel's, and Falco shows none."""
_BIT = {bit.name: int(bit) for bit in EventBit}
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
"""The roles of paths in fs.path.*, and the parameters for them."""
_NO_EVENTS = frozenset(
    (
        *("container", "cpu_hotplug", "drop", "infra", "notification", "pluginevent", "scapevent"),
        *("groupadded", "groupdeleted", "useradded", "userdeleted"),
    )
)
"""Events that change or describe the capture itself, and that Falco doesn't evaluate."""
_NO_THREAD = _NO_EVENTS | {*CLONES, "asyncevent", "k8s", "mesos", "page_fault", "procexit", "procinfo", "switch"}
"""Events that don't make an unknown thread known."""
_NONE: Mapping[tuple[int, int], Quick] = {}


class CaptureAssembler:
    """The batch under construction and the state behind it.

    exclusions: by event type that matters to a rule, what excludes events from the batches; None to add all events.
    """

    def __init__(self, exclusions: Mapping[str, Excludes] | None = None) -> None:
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
        self._exclusions = exclusions
        effects = self._processes.names | self._descriptors.names | _NO_EVENTS
        handlers = {} if exclusions is None else QuickHandlers(self.threads, effects, exclusions).by_form
        self._handlers: Mapping[tuple[int, int], Quick] = handlers
        self.excluded = 0
        """Events that were not added, because no rule can match them."""
        self._number = self._read = 0
        self._numbers: list[int] = []
        self._sequence = 0
        self._start = self._time = 0
        self._has_roles = False

    @property
    def is_empty(self) -> bool:
        """True if no event was read since the last batch."""
        return self._number == self._read

    @property
    def is_full(self) -> bool:
        """True if the batch is due."""
        builder = self._builder
        return (
            builder.count >= _MAX_EVENTS
            or self._number - self._read >= _MAX_PASSED
            or (builder.count > 0 and builder.size + self._rows.size >= _MAX_BYTES)
        )

    def lines(self) -> list[str]:
        """Return what of the host's state was left out, in sentences."""
        found = self.threads.limits.lines()
        if self._containers.too_long:
            found.append(f"ignored {count_of(self._containers.too_long, 'description')} of containers: too long")
        return found

    @property
    def quick(self) -> Mapping[tuple[int, int], Quick]:
        """The handlers of events that need not be decoded, by form; the first event always is."""
        return self._handlers if self._start else _NONE

    def set_machine(self, machine: Machine) -> None:
        """Take over the description of the host."""
        self._machine = machine
        self.threads.boot_time = machine.boot_time

    def list_descriptor(self, given: ListedDescriptor) -> None:
        """Add a descriptor of the list at the beginning."""
        thread = self.threads.find(given.tid)
        if thread is not None:
            self.threads.add_descriptor(thread, given.number, listed(given))

    def pass_over(self, count: int) -> None:
        """Count events that a quick handler applied."""
        self.threads.limits.earn(count)
        self._number += count
        self.excluded += count

    def take(self, event: CapturedEvent) -> None:
        """Apply an event and add it."""
        self.threads.limits.earn(1)
        self._number += 1
        if not self._has_roles:
            self.threads.set_roles()
            self._has_roles = True
        thread = self.threads.find(event.tid)
        if thread is None and event.version.name not in _NO_THREAD:
            thread = self.threads.add_unknown(event.tid)
        subject = self._descriptors.apply(event, thread)
        thread = self._processes.apply(event, thread)
        if event.version.is_exit or (not event.version.is_joined and event.version.name not in _NO_EVENTS):
            self._add(event, thread, subject)
        self._descriptors.after(event, thread, subject)
        self._processes.after(event, thread)

    def _add(self, event: CapturedEvent, thread: CapturedThread | None, subject: Subject) -> None:
        self._time = event.time
        self._start = self._start or event.time
        result, name = event.result, _name(event)
        version = event.version
        bits = _bits(name, event, result, subject)
        if event.has_result:
            bits |= _BIT["HAS_RES"] | (_BIT["FAILED"] if result < 0 else 0)
        if self._exclusions is not None and self._is_excluded(name, bits, thread, subject):
            self.excluded += 1
            return
        self._numbers.append(self._number)
        intern = self._builder.intern
        values = [] if version.name == GENERIC else self._reader.values(event, thread)
        names = tuple(param.name for param in version.params[: len(values)])
        entry = None if thread is None else self._entry(thread)
        bits |= _BIT["PROCESS_STALE"] if entry is None or entry.is_stale else 0
        local, remote = self._ends(subject.descriptor, entry)
        if local is not None and subject.descriptor is not None:
            bits |= _BIT["HAS_ROLE"] | (_BIT["IS_SERVER"] if local is subject.descriptor.target else 0)
        vtid = MISSING_INT if thread is None or thread.entry.is_stale else thread.vtid
        process = self._nobody() if entry is None else self._rows.row(entry)
        tid, vtid = (MISSING_INT if each > _LAST_ID else each for each in (event.tid, vtid))
        head = (process, _clamped(tid), _clamped(vtid), event.cpu, result, bits, 0)
        data = event.bytes_of("data") if name != "asyncevent" else b""
        buffer = intern(data.decode("utf-8", "surrogateescape")) if data and thread is not None else 0
        numbers, texts = _descriptor_columns(subject, local, remote)
        rest = (buffer, 0, 0, 0, 0)
        row = (*head, *numbers, intern(name), *map(intern, texts), *self._paths(name, event, thread), *rest)
        self._builder.add(event.time, row, names, values)

    def _is_excluded(self, name: str, bits: int, thread: CapturedThread | None, subject: Subject) -> bool:
        excludes = (self._exclusions or {}).get(name)
        if excludes is None:
            return True
        if thread is None:
            return False
        entry = thread.entry
        return excludes(bits, _file_name(subject), entry.program.name, entry.container is None)

    def _nobody(self) -> int:
        """Return the row of events without a thread."""
        if self._nobody_row < 0:
            self._nobody_row = len(self._rows.processes)
            self._rows.processes.append(Process(pid=NOBODY))
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
        if descriptor is None or entry is None or descriptor.is_server is None or descriptor.type not in INTERNET:
            return None, None
        source, target = descriptor.source, descriptor.target
        if descriptor.type in SERVERS:
            return target, None
        if source is None or self._is_local(source[0], entry):
            return source, target
        return target, source

    def _is_local(self, address: str, entry: TrackedProcess) -> bool:
        own = None if entry.container is None else self._containers.owns(entry.container, address)
        return self.interfaces.is_local(address) if own is None else own

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
                    path = absolute_path(None, path) if path is not None and path.startswith("/") else path
                place = 2 * _ROLES.index(role)
                found[place], found[place + 1] = self._builder.intern(path), self._builder.intern(raw)
        return tuple(found)

    def finish(self) -> EventBatch:
        """Return the batch and begin the next one."""
        builder, self._builder = self._builder, BatchBuilder()
        processes, containers = self._rows.take()
        self._nobody_row = -1
        self._sequence += 1
        self._read = self._number
        numbers, self._numbers = self._numbers, []
        first = numbers[0] if numbers else self._number
        has_gaps = bool(numbers) and numbers[-1] - first + 1 != len(numbers)
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
            first_number=first,
            numbers=numbers if has_gaps else (),
            count=builder.count,
            strings=builder.strings,
            processes=processes,
            containers=containers,
            columns=builder.columns(),
        )


def _name(event: CapturedEvent) -> str:
    """Return the type of an event."""
    name = event.version.name
    if name == GENERIC:
        native = event.number_of("nativeID") if event.bytes_of("nativeID") else None
        return system_call_name(event.number_of("ID"), native)
    return (event.text("name") or name) if name == "asyncevent" else name


def _bits(name: str, event: CapturedEvent, result: int, subject: Subject) -> int:
    bits = 0
    if name == "creat":
        bits = creat_bits(event.number_of("mode"))
    elif name in OPENS:
        bits = open_bits(event.number_of("flags"), event.number_of("mode"), result)
    descriptor = subject.descriptor
    if descriptor is None:
        return bits
    bits |= _BIT["CONNECTED"] if descriptor.is_connected else 0
    bits |= _BIT["NAME_CHANGED"] if subject.is_name_changed else 0
    bits |= _BIT["UPPER_LAYER"] if descriptor.flags & UPPER_LAYER else 0
    return bits | (_BIT["LOWER_LAYER"] if descriptor.flags & LOWER_LAYER else 0)


def _file_name(subject: Subject) -> str | None:
    if subject.descriptor is not None:
        return subject.descriptor.name
    return subject.path or ("" if subject.number is not None else None)


def _descriptor_columns(
    subject: Subject, local: End | None, remote: End | None
) -> tuple[tuple[int, ...], tuple[str | None, ...]]:
    descriptor, number = subject.descriptor, subject.number
    if descriptor is None:
        numbers = (MISSING_INT if number is None else _clamped(number), 0, 0, -1, -1)
        return numbers, (None, _file_name(subject), subject.raw_path, None, None, None, None, None)
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
        descriptor.raw_name or "",
        None,
        None if local is None else local[0],
        None if remote is None else remote[0],
        descriptor.protocol_name,
        descriptor.family,
    )
    return numbers, texts


def _clamped(number: int) -> int:
    """Return a number as one of 32 bits."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)
