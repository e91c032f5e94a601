"""Processes kernel records: updates the process table, and passes events on once their container is known."""

import time
from collections.abc import Mapping

from collector.batch_assembler import BatchAssembler
from collector.containers.bundles.shims import is_roots_program, is_shim
from collector.containers.lookup import KnownContainers
from collector.containers.pending_events import PendingEvents
from collector.events.build import PROCEXIT
from collector.events.io_uring import PendingRequests
from collector.processes.process import TrackedProcess
from collector.processes.procfs.files import ProcessFiles
from collector.processes.table import ProcessTable
from collector.records.decode import KIND_SYSCALL, as_of, decode, identity_of
from collector.records.layout import HEAD
from collector.records.repeat_counts import RepeatCounts
from collector.records.types import Exec, Exit, RepeatCount, Request, Syscall
from schemas.caching.bounded import BoundedMap

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
    ) -> None:
        self.undecodable = 0
        """Records that could not be decoded."""
        self.event_types = event_types
        self._table = table
        self._reader = reader
        self._containers = containers
        self._batch = batch
        self._waiting: PendingEvents[tuple[Syscall | Exec | Exit, TrackedProcess]] = PendingEvents()
        self._requests = PendingRequests()
        self._repeating: BoundedMap[bytes, TrackedProcess] = BoundedMap(repeating)
        """By the bytes that equal records share, the process at the last call that was sent whole."""
        self._repeat_counts = RepeatCounts()

    @property
    def has_waiting(self) -> bool:
        """Whether events are waiting for their container's facts."""
        return len(self._waiting) > 0

    @property
    def lost_requests(self) -> int:
        """io_uring requests dropped because too many were pending."""
        return self._requests.lost

    @property
    def without_facts(self) -> Mapping[str, int]:
        """Events passed on without their container's facts, by reason."""
        return {"timeout": self._waiting.gave_up_by_time, "too_many": self._waiting.gave_up_by_count}

    def take(self, records: list[bytes]) -> None:
        """Process records as sent by the kernel side."""
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
            elif isinstance(record, RepeatCount):
                self.add_repeats(record)
            elif isinstance(record, Request):
                for call in self._requests.take(record):
                    self._admit(call, self._table.resolve(call.who))
            elif isinstance(record, Exit) and PROCEXIT in self.event_types:
                # Looked up first, because afterwards the process is no longer known.
                self._admit(record, self._table.ending(record))
                self._table.apply(record)
            else:
                self._table.apply(record)
                if isinstance(record, Exec):
                    self._started_program(record)

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
            for held in self._waiting.known(key):
                self._batch.add(*held)
        for held in self._waiting.expired(now):
            self._batch.add(*held)

    def drain(self) -> None:
        """Pass on all waiting events, at shutdown."""
        for held in self._waiting.drain():
            self._batch.add(*held)

    def _started_program(self, record: Exec) -> None:
        entry = self._table.resolve(record.state.who)
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
        if record.event_type in self.event_types:
            self._admit(record, entry)

    def _admit(self, record: Syscall | Exec | Exit, entry: TrackedProcess, raw: bytes = b"") -> None:
        """Pass on an event, unless its container's facts are still outstanding: then it alone waits."""
        name = entry.container
        if name is None:
            self._batch.add(record, entry, raw)
            return
        now = time.monotonic_ns()
        if not self._waiting.should_hold(name.key, is_pending=self._containers.is_pending(name, now, entry.pid)):
            self._batch.add(record, entry, raw)
            return
        self._batch.prepare(entry)
        for held in self._waiting.hold(name.key, (record, self._table.frozen(entry)), now):
            self._batch.add(*held)
