"""Assembles batches: events with their processes in, one EventBatch after another out."""

import os
import resource
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from collector.containers.lookup import KnownContainers
from collector.events.batch_builder import BatchBuilder
from collector.events.build import EventSource, add_exec, add_exit, add_syscall, begins_to_listen, exchanged_back
from collector.events.network_names import LookedUpNames, ServerNames
from collector.events.repeat_cache import OnWrite, RepeatCache
from collector.host import HostFacts, boot_to_epoch, host_addresses
from collector.processes.host_mounts import HostMounts
from collector.processes.process import TrackedProcess
from collector.processes.programs import KnownPrograms
from collector.processes.rows import ProcessRows
from collector.processes.servers import KnownServers
from collector.processes.table import ProcessTable
from collector.processes.users import UserFiles
from collector.procfs.reading import read_file
from collector.records.types import Exec, Exit, File, Syscall
from collector.settings import CollectorSettings
from schemas.batch import EventBatch, Process
from schemas.filter import PushdownFilter, encode_filter

Watched = tuple[list[str], list[str], bytes]
"""Event types watched in full, event types that are filtered, and the compressed filter; all empty if not due."""


class WatchReport:
    """The coverage of one collector, reported on each change and after each interval; times are monotonic seconds."""

    def __init__(
        self, event_types: frozenset[str], pushdown_filter: PushdownFilter | None, interval: float, now: float
    ) -> None:
        self.event_types = event_types
        self._pushdown_filter = pushdown_filter
        self._interval = interval
        self._due = now
        self._report: Watched | None = None

    def change(self, event_types: frozenset[str], pushdown_filter: PushdownFilter | None, now: float) -> None:
        """Replace what is watched; arguments as for the constructor."""
        self.event_types = event_types
        self._pushdown_filter = pushdown_filter
        self._due = now
        self._report = None

    def take(self, now: float) -> Watched:
        """Return the report if it is due at a time on the monotonic clock, in seconds."""
        if now < self._due:
            return [], [], b""
        self._due = now + self._interval
        if self._report is None:
            # The filter is needed only until it is encoded; it takes up to a MiB.
            self._report, self._pushdown_filter = self._reported(), None
        return self._report

    def _reported(self) -> Watched:
        if self._pushdown_filter is None:
            return sorted(self.event_types), [], b""
        whole = {
            clause.event for clause in self._pushdown_filter.clauses if not clause.tests and clause.patterns is None
        }
        narrowed = self.event_types & self._pushdown_filter.events - whole
        return (
            sorted(self.event_types - narrowed),
            sorted(narrowed),
            zlib.compress(encode_filter(self._pushdown_filter)),
        )


_CLOCK_SLACK = 10_000_000
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_Names = tuple[Callable[[int], str | None], Callable[[int], str | None]]


class BatchAssembler:
    """The batch under construction, and the counters that batches carry.

    Args:
        table: the processes; its clock offset is updated at each batch.
        users: names of users and groups.
        containers: facts of containers.
        host: this host.
        settings: limits of a batch, and what identifies the collector.
        on_full: called when the batch has reached a limit; has to call finish().
    """

    def __init__(
        self,
        table: ProcessTable,
        users: UserFiles,
        containers: KnownContainers,
        *,
        host: HostFacts,
        settings: CollectorSettings,
        on_full: Callable[[], None],
    ) -> None:
        self.events = 0
        """All events so far, including repeats."""
        self.started = time.time_ns()
        """Wall clock of the collector's start, ns; with the sequence it identifies a batch."""
        self._table = table
        self._users = users
        self._host = host
        self._settings = settings
        self._on_full = on_full
        self.mounts = HostMounts()
        self._rows = ProcessRows(table, users, containers)
        self._servers: KnownServers | None = None
        self._builder = BatchBuilder()
        self._repeated = RepeatCache(table, containers)
        self.looked_up = LookedUpNames(self._repeated.forget)
        self.server_names = ServerNames()
        self._origins: dict[int, EventSource] = {}
        """Sources of this batch's events, by the row of their process."""
        self._host_names: _Names = (
            lambda uid: users.names(uid, None, None, None, ()).user,
            lambda gid: users.names(-1, gid, None, None, ()).group,
        )
        self.is_urgent = False
        """True if the batch has an event that a rule may match: a call that passed the filter, or an exec."""
        self.with_contents = 0
        """Events so far that are an answer of a name server or a TLS ClientHello."""
        self.has_urgent_contents = True
        """Whether these are urgent, too."""
        self._sequence = 0
        self._addresses: list[str] = []
        self._memory_bytes = 0
        self._first_number = 1
        self._reported: Mapping[str, int] = {}
        """Losses that earlier batches have reported."""

    @property
    def count(self) -> int:
        """Number of events in the batch."""
        return self._builder.count

    def use_programs(self, programs: KnownPrograms | None) -> None:
        """Put what programs are into the rows of processes from now on."""
        self._rows.programs = programs
        self._repeated.is_code_looked_up = programs is not None and programs.has_opened
        self._repeated.clear()

    def use_servers(self, servers: KnownServers) -> None:
        """Put which processes listen on the network into their rows from now on."""
        self._rows.servers = self._servers = servers

    def prepare(self, entry: TrackedProcess) -> None:
        """Read now what may be gone when the row of a process is written."""
        self._rows.prepare(entry)

    def note_writer(self, call: Syscall, file: File, entry: TrackedProcess, programs: KnownPrograms) -> OnWrite:
        """Note who opens a file for writing, before the event waits: others may use the file until it is known.

        Return a function that does so for a similar call.
        """
        user = self._users.names(entry.credentials.uid, None, None, entry.container, (entry.pid,)).user
        on_write = programs.writer(file.dev, entry, user)
        on_write(file.ino, call.who.time + self._table.boot_to_epoch)
        return on_write

    def repeat(self, records: Sequence[bytes], start: int) -> int:
        """Add the events of consecutive records, from an index on, by reusing earlier ones.

        Return the index of the first record whose event was not added; it may be the next batch's.
        """
        builder, settings = self._builder, self._settings
        end = min(len(records), start + settings.flush_events - builder.count)
        done = self._repeated.add(
            builder,
            records,
            range(start, end),
            room=settings.flush_bytes - self._rows.size,
            boot_to_epoch=self._table.boot_to_epoch,
        )
        if done > start:
            self.events += done - start
            self._flush_if_full()
        return done

    def add(
        self, record: Syscall | Exec | Exit, entry: TrackedProcess, raw: bytes = b"", on_write: OnWrite | None = None
    ) -> None:
        """Add the event of a decoded record.

        Args:
            record: the record.
            entry: its process.
            raw: the record's bytes if later events may repeat it.
            on_write: what note_writer() returned for it.
        """
        row = self._rows.row(entry)
        origin = self._origins.get(row)
        if origin is None:
            process = self._rows.processes[row]
            origin = self._origins[row] = EventSource(process, row, entry.is_stale, *self._names(entry, process))
        who = record.state.who if isinstance(record, Exec) else record.who
        time_of_event = who.time + self._table.boot_to_epoch
        if isinstance(record, Syscall):
            outer = partial(self.mounts.outer, at=who.time)
            answers, names, server_name, is_hello = [], None, None, False
            if record.socket is not None:
                was_used = self.looked_up.is_used
                answers = self.looked_up.receive(record, entry.container, origin.process.user)
                names = self.looked_up.reader(record, entry.container)
                server_name, is_hello = self.server_names.receive(record, entry.container)
                if names is not None and not was_used:
                    # So far, nobody has noted which events have names.
                    self._repeated.clear()
            answer = answers[0] if answers else None
            programs = self._rows.programs
            file = None if programs is None or record.located is None else programs.opened_text(record.located)
            event = add_syscall(
                *(self._builder, record, origin, time_of_event, outer),
                answer=answer,
                names=names,
                server_name=server_name,
                file=file,
            )
            for answer in answers[1:]:
                add_syscall(self._builder, record, origin, time_of_event, outer, answer=answer, names=names)
                self.events += 1
            self.events += record.repeats
            back = exchanged_back(record)
            if back is not None:
                add_syscall(self._builder, back, origin, time_of_event, outer)
                self.events += 1 + back.repeats
            elif raw and not entry.is_stale and not is_hello and file is None:
                self._repeated.remember(self._builder, raw, record, event, entry, names=names, on_write=on_write)
            has_contents = bool(answers) or is_hello
            self.with_contents += has_contents
            self.is_urgent |= not has_contents or self.has_urgent_contents
            if self._servers is not None and begins_to_listen(record):
                self._servers.listened()
        elif isinstance(record, Exit):
            add_exit(self._builder, record, origin, time_of_event)
        else:
            add_exec(self._builder, record, origin, time_of_event)
            self.is_urgent = True
        self.events += 1
        self._flush_if_full()

    def finish(
        self, losses: Mapping[str, int], versions: frozenset[str], watched: Watched, *, stopping: bool
    ) -> EventBatch:
        """Return the batch and begin the next one.

        Args:
            losses: all losses since the start, by reason.
            versions: versions of the published rules whose filter is active for all events of the batch.
            watched: what is watched, if due for reporting.
            stopping: whether this is the collector's last batch.
        """
        builder, self._builder = self._builder, BatchBuilder()
        self.is_urgent = False
        if watched[0] or watched[1]:
            # They may change, and are read as rarely as what is watched is reported.
            self._addresses, self._memory_bytes = host_addresses(), _resident_bytes()
        self._repeated.clear()
        self._origins = {}
        if step := self._follow_clock():
            builder.shift(step)
        processes, containers = self._rows.take()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._sequence += 1
        is_first = self._sequence == 1
        batch = EventBatch(
            host_id=self._host.id,
            hostname=self._host.name,
            boot_id=self._host.boot_id,
            collector_start=self.started,
            sequence=self._sequence,
            interest_version="+".join(sorted(versions)),
            created=time.time_ns(),
            collector_version=self._settings.version,
            kernel=self._host.kernel,
            os_name=self._host.os_name,
            architecture=self._host.architecture,
            addresses=self._addresses,
            first_number=self._first_number,
            count=builder.count,
            strings=builder.strings,
            processes=processes,
            containers=containers,
            columns=builder.columns(),
            previous_start=self._settings.previous_start if is_first else 0,
            previous_sequence=self._settings.previous_sequence if is_first else -1,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            memory_bytes=self._memory_bytes,
            lost={reason: fresh for reason, n in losses.items() if (fresh := n - self._reported.get(reason, 0))},
            watched=watched[0],
            narrowed=watched[1],
            interest=watched[2],
            stopping=stopping,
        )
        self._reported = dict(losses)
        self._first_number += builder.count
        return batch

    def _flush_if_full(self) -> None:
        settings = self._settings
        if self._builder.is_full(settings.flush_events, settings.flush_bytes - self._rows.size):
            self._on_full()

    def _names(self, entry: TrackedProcess, process: Process) -> _Names:
        container, pids = entry.container, (entry.pid,)
        if container is None:
            return self._host_names

        def user_name(uid: int) -> str | None:
            return process.user if uid == process.uid else self._users.names(uid, None, None, container, pids).user

        def group_name(gid: int) -> str | None:
            return process.group if gid == process.gid else self._users.names(-1, gid, None, container, pids).group

        return user_name, group_name

    def _follow_clock(self) -> int:
        """Follow the wall clock if it was set, but not its slewing, which would reorder events.

        Return how far it was set since the last call, ns; usually 0.
        """
        step = boot_to_epoch() - self._table.boot_to_epoch
        if abs(step) <= _CLOCK_SLACK:
            return 0
        self._table.boot_to_epoch += step
        return step


def _resident_bytes() -> int:
    found = read_file("/proc/self/statm", _PAGE_SIZE)
    return 0 if found is None else int(found.split()[1]) * _PAGE_SIZE
