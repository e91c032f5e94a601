"""Processes kernel records: updates the process table, and passes events on once their container is known."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from stat import S_ISREG
from typing import Generic, TypeVar

from collector.batch_assembler import BatchAssembler
from collector.containers.bundles import is_roots_program, is_shim
from collector.containers.lookup import KnownContainers
from collector.containers.runtimes import starts_containers
from collector.events.build import PROCEXIT, loads_code, opens_for_writing
from collector.events.io_uring import PendingRequests
from collector.processes.files import ProcessFiles
from collector.processes.process import TrackedProcess
from collector.processes.programs import KnownPrograms
from collector.processes.table import ProcessTable
from collector.records.decode import HEAD, KIND_SYSCALL, as_of, decode, identity_of
from collector.records.kernel_maps import RepeatCounts
from collector.records.types import Exec, Exit, RepeatCount, Request, Syscall
from foundation.caches import BoundedMap

MAX_AGE = 1_000_000_000
"""Maximum nanoseconds that the first event of a container waits."""

MAX_EVENTS = 10_000
"""Maximum events of all containers together."""

T = TypeVar("T")
_Waiting = tuple[Syscall | Exec | Exit, TrackedProcess]


class PendingEvents(Generic[T]):
    """Waiting events by container or program, each one's in arrival order.

    max_age: ns. max_events: of all together.
    """

    def __init__(self, max_age: int = MAX_AGE, max_events: int = MAX_EVENTS) -> None:
        self.gave_up_by_time = 0
        """Events released without facts because they had waited too long."""
        self.gave_up_by_count = 0
        """Events released without facts because too many were waiting."""
        self._max_age = max_age
        self._max_events = max_events
        self._held: OrderedDict[Hashable, tuple[int, deque[T]]] = OrderedDict()
        self._given_up: BoundedMap[Hashable, bool] = BoundedMap(4096)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def should_hold(self, key: Hashable, *, is_pending: bool) -> bool:
        """Return whether a key's next event has to wait: for facts, or behind its earlier events."""
        return key in self._held or (is_pending and key not in self._given_up)

    def hold(self, key: Hashable, event: T, now: int) -> list[T]:
        """Store an event of a key until it can be passed on. now: monotonic ns.

        If too many wait, return in order those of the key that has waited longest; release them instead.
        """
        if key not in self._held:
            self._held[key] = (now, deque())
        self._held[key][1].append(event)
        self._count += 1
        if self._count <= self._max_events:
            return []
        oldest = next(iter(self._held))
        released = self.release(oldest)
        self._given_up.put(oldest, value=True)
        self.gave_up_by_count += len(released)
        return released

    def release(self, key: Hashable) -> list[T]:
        """Return a key's events, in order, and store them no longer: its facts have arrived, or nothing waits."""
        _, events = self._held.pop(key, (0, deque()))
        self._count -= len(events)
        return list(events)

    def expired(self, now: int) -> list[T]:
        """Return the events that have waited too long, each key's in order; later ones of it no longer wait."""
        released: list[T] = []
        while self._held:
            key, (since, _) = next(iter(self._held.items()))
            if now - since < self._max_age:
                break
            released.extend(self.release(key))
            self._given_up.put(key, value=True)
        self.gave_up_by_time += len(released)
        return released

    def drain(self) -> list[T]:
        """Release all events, at shutdown."""
        released: list[T] = []
        for key in list(self._held):
            released.extend(self.release(key))
        return released


_KIND = HEAD.span("kind")
_SYSCALL = KIND_SYSCALL.to_bytes(2, "little")
"""Only the events of system calls are reused."""


class RecordIntake:
    """Takes records in the order of their times.

    Args:
        table: the processes.
        reader: its `variables` select the environment variables that an exec keeps.
        containers: facts of containers.
        batch: receives the events.
        event_types: event types to watch.
        repeating: how many repeated calls are counted at a time.
        on_engine: called when a program starts that starts containers.
    """

    def __init__(
        self,
        table: ProcessTable,
        reader: ProcessFiles,
        containers: KnownContainers,
        batch: BatchAssembler,
        event_types: frozenset[str],
        *,
        repeating: int,
        on_engine: Callable[[], None] = lambda: None,
    ) -> None:
        self.undecodable = 0
        """Records that could not be decoded."""
        self.event_types = event_types
        self._table = table
        self._reader = reader
        self._containers = containers
        self._batch = batch
        self._on_engine = on_engine
        self._waiting: PendingEvents[_Waiting] = PendingEvents()
        self._programs: KnownPrograms | None = None
        self._unidentified: PendingEvents[_Waiting] = PendingEvents()
        """Events that wait until it is known what their program is."""
        self.requests = PendingRequests()
        """Requests of io_uring."""
        self._repeating: BoundedMap[bytes, TrackedProcess] = BoundedMap(repeating)
        """By the bytes that equal records share, the process at the last call that was sent whole."""
        self._repeat_counts = RepeatCounts()

    @property
    def has_waiting(self) -> bool:
        """True if events are waiting for their container's facts."""
        return len(self._waiting) > 0 or len(self._unidentified) > 0

    @property
    def without_facts(self) -> Mapping[str, int]:
        """Events passed on without their container's facts, by reason."""
        return {"timeout": self._waiting.gave_up_by_time, "too_many": self._waiting.gave_up_by_count}

    @property
    def without_programs(self) -> Mapping[str, int]:
        """Events passed on before it was known what their program is, by reason."""
        return {"timeout": self._unidentified.gave_up_by_time, "too_many": self._unidentified.gave_up_by_count}

    def use_programs(self, programs: KnownPrograms | None) -> None:
        """Hold events from now on until it is known what their program is; None passes them on."""
        self._programs = programs
        self._batch.use_programs(programs)
        for held in self._unidentified.drain() if programs is None else ():
            self._batch.add(*held)

    def take(self, records: list[bytes]) -> None:
        """Process records as sent by the kernel side."""
        self._batch.mounts.check()
        if self._programs is not None:
            self._programs.begin_turn()
        at = 0
        variables = self._reader.variables or None
        while at < len(records):
            raw = records[at]
            if raw[_KIND] == _SYSCALL:
                reused = self._batch.repeat(records, at)
                if reused > at:
                    at = reused
                    continue
            at += 1
            try:
                record = decode(raw, variables)
            except (ValueError, IndexError):
                self.undecodable += 1
                continue
            if isinstance(record, Syscall):
                entry = self._table.resolve(record.who)
                if record.is_last_whole:
                    self._repeating.put(identity_of(raw), self._table.frozen(entry))
                    # One that is similar has to get here, too.
                    raw = b""
                self._admit(record, entry, raw)
            elif isinstance(record, Exec):
                self._table.apply(record)
                self._started_program(record)
            elif isinstance(record, Exit) and PROCEXIT in self.event_types:
                # Looked up first, because afterwards the process is no longer known.
                self._admit(record, self._table.ending(record))
                self._table.apply(record)
            elif isinstance(record, RepeatCount):
                self.add_repeats(record)
            elif isinstance(record, Request):
                for call in self.requests.take(record):
                    self._admit(call, self._table.resolve(call.who))
            else:
                self._table.apply(record)

    def add_repeats(self, repeats: RepeatCount) -> None:
        """Add the repeats of a call that are new, as one event."""
        fresh = self._repeat_counts.fresh(repeats)
        if not fresh:
            return
        call = decode(as_of(repeats.last, repeats.record))
        if isinstance(call, Syscall):
            call.repeats = fresh - 1
            entry = self._repeating.get(identity_of(repeats.record))
            self._admit(call, self._table.resolve(call.who) if entry is None else entry)

    def release(self) -> None:
        """Pass on the events whose container's facts have arrived, and those that have waited too long."""
        now = time.monotonic_ns()
        for key in self._containers.poll(now):
            for held in self._waiting.release(key):
                self._pass_on(*held)
        for held in self._waiting.expired(now):
            self._pass_on(*held)
        if self._programs is not None:
            for program in self._programs.poll():
                for held in self._unidentified.release(program):
                    self._batch.add(*held)
            for held in self._unidentified.expired(now):
                self._batch.add(*held)

    def drain(self) -> None:
        """Pass on all waiting events, at shutdown."""
        for held in (*self._waiting.drain(), *self._unidentified.drain()):
            self._batch.add(*held)

    def _started_program(self, record: Exec) -> None:
        entry = self._table.resolve(record.state.who)
        if starts_containers(record.state.comm):
            self._on_engine()
        if entry.container is not None:
            # By the time of its first relevant event, the container may be gone, and its files with it.
            self._batch.prepare(entry)
            self._containers.is_pending(entry.container, time.monotonic_ns(), entry.pid)
        elif (
            entry.credentials.uid == 0
            and is_shim(record.state.comm)
            and is_roots_program(record.exe_uid, record.exe_mode)
        ):
            self._containers.shim_started(entry.pid)
        if self._programs is not None:
            self._programs.started(entry)
        if record.event_type in self.event_types:
            self._admit(record, entry)

    def _admit(self, record: Syscall | Exec | Exit, entry: TrackedProcess, raw: bytes = b"") -> None:
        """Pass on an event, unless its container's facts are still outstanding: then it alone waits."""
        name = entry.container
        if name is None:
            self._pass_on(record, entry, raw)
            return
        now = time.monotonic_ns()
        if not self._waiting.should_hold(name.key, is_pending=self._containers.is_pending(name, now, entry.pid)):
            self._pass_on(record, entry, raw)
            return
        self._batch.prepare(entry)
        for held in self._waiting.hold(name.key, (record, self._table.frozen(entry)), now):
            self._pass_on(*held)

    def _pass_on(self, record: Syscall | Exec | Exit, entry: TrackedProcess, raw: bytes = b"") -> None:
        """Add an event to the batch, once it is known what its program is if rules use that."""
        programs = self._programs
        if programs is None:
            self._batch.add(record, entry, raw)
            return
        # What is known of a script comes after what is known of its interpreter.
        file = on_write = None
        if isinstance(record, Syscall):
            # A device such as /dev/null is opened often, and never run.
            if record.file is not None and S_ISREG(record.file.mode) and opens_for_writing(record):
                on_write = self._batch.note_writer(record, record.file, entry, programs)
            elif programs.has_opened and loads_code(record):
                file = record.located = programs.opened(record, entry)
        if file is None and not self._unidentified and programs.is_settled(entry):
            self._batch.add(record, entry, raw, on_write)
            return
        own = programs.key(entry)
        for key, other in ((file and file.key, file), (programs.script_key(entry), entry.script_file), (own, None)):
            if key and self._unidentified.should_hold(key, is_pending=programs.is_pending(key, entry, other)):
                waiting = (record, self._table.frozen(entry))
                for held in self._unidentified.hold(key, waiting, time.monotonic_ns()):
                    self._batch.add(*held)
                return
        self._batch.add(record, entry, raw, on_write)
