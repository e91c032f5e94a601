"""The collector of one host: kernel records in, event batches out. A thin shell around this package's pure parts."""

import os
import resource
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from collector.bpf.program import RingSizes
from collector.containers.docker import DEFAULT_SOCKET, Docker
from collector.containers.lookup import KnownContainers
from collector.containers.naming import Naming
from collector.containers.pending_events import PendingEvents
from collector.events.batch_builder import BatchBuilder
from collector.events.build import PROCEXIT, EventSource, add_exec, add_exit, add_syscall
from collector.events.io_uring import PendingRequests
from collector.events.repeat_cache import RepeatCache
from collector.host.facts import HostFacts, join_host_cgroup_namespace, this_host
from collector.kernel_feed import SENT_WHOLE, KernelFeed
from collector.processes.lookups.client import LookUps
from collector.processes.process import TrackedProcess
from collector.processes.procfs.files import ProcessFiles
from collector.processes.rows import ProcessRows
from collector.processes.sweep import Sweep
from collector.processes.table import ProcessTable
from collector.processes.users.lookup import UserFiles
from collector.pushdown.environment import named
from collector.pushdown.plan import common
from collector.records.decode import as_of, decode, identity_of
from collector.records.repeat_counts import RepeatCounts
from collector.records.types import Exec, Exit, RepeatCount, Request, Syscall
from schemas.batch import EventBatch, Process
from schemas.caching.bounded import BoundedMap
from schemas.encoding.filter_json import encode_filter
from schemas.filter import PushdownFilter

CACHE = Path("/var/cache/lanner")
"""Where a collector caches its compiled program."""
_IDLE_POLL, _BUSY_POLL = 0.020, 0.002
KERNEL_LOSSES = ("events_ring_full", "lifecycle_ring_full", "events_over_share", "lifecycle_over_share")
"""Reasons of losses that the kernel side counts."""
_LIFECYCLE_LOSSES = ("lifecycle_ring_full", "lifecycle_over_share")
_LOSSES_SECONDS = 1.0
_MAX_REPEATING = 4096
_CLOCK_SLACK = 10_000_000
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """Settings of a collector; the defaults suit a host of any size."""

    host_id: str = ""
    """Empty for the machine's own id."""
    version: str = "0.1.0"
    rings: RingSizes = field(default_factory=RingSizes)
    flush_events: int = 500
    flush_bytes: int = 512 * 1024
    """Approximate size of events, processes and containers together; one event may exceed it by a bounded amount."""
    flush_seconds: float = 0.1
    heartbeat_seconds: float = 15.0
    """A batch is sent at least this often, even without events, so that a quiet host differs from a dead one."""
    variables: frozenset[str] = frozenset()
    """Names of the environment variables to collect at exec."""
    cache: Path = CACHE
    given_programs: tuple[Path, ...] = ()
    """Programs compiled on a host of the same kind: files, or folders of them."""
    docker_socket: Path = DEFAULT_SOCKET
    container_parents: tuple[str, ...] = ()
    """Further cgroups below which runtimes create those of containers; `*` matches any part of one name."""
    sent_whole: int = SENT_WHOLE
    """Equal calls of one process that are sent whole per second and CPU; further ones are counted and sent as one. 0:
    all are sent."""
    exact_paths: bool = True
    """Take the paths of calls such as unlink and rename from the kernel's own copies, which user space can't modify."""
    repeats_seconds: float = 1.0
    """How often that count is sent."""
    previous_start: int = 0
    """Start of the previous collector, ns; 0 if unknown."""
    previous_sequence: int = -1
    """The last batch that it sent, as far as known."""


class Collector:
    """One host's collector: start, poll until done, stop. Everything runs on the caller's thread."""

    def __init__(
        self,
        event_types: Iterable[str],
        *,
        on_batch: Callable[[EventBatch], None],
        interest: PushdownFilter | None = None,
        settings: CollectorSettings | None = None,
        further_losses: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """Set up a collector; start() attaches it.

        Args:
            event_types: event types that rules need; lifecycle records always come, for the process table.
            on_batch: called on the polling thread with each finished batch.
            interest: pushdown filter; None sends every event.
            settings: how to work.
            further_losses: returns losses behind the collector by reason, as growing totals; batches report them.
        """
        self.settings = settings or CollectorSettings()
        self.event_types = frozenset(event_types)
        self.host: HostFacts = this_host(self.settings.host_id)
        self.events = 0
        self.versions: frozenset[str] = frozenset()
        """Versions of the published rules whose filter is active; a batch lists those active for all its events."""
        self._interest = interest
        self._on_batch = on_batch
        self._further_losses = further_losses
        self._containers = KnownContainers([Docker(self.settings.docker_socket)])
        self._waiting: PendingEvents[tuple[Syscall | Exec | Exit, TrackedProcess]] = PendingEvents()
        self._feed: KernelFeed | None = None
        self._look_ups = LookUps(on_start=self._ignore, on_end=self._heed)
        self._users = UserFiles(look=self._look_ups.accounts)
        self._reader = ProcessFiles(variables=self.settings.variables, memory=self._look_ups.memory)
        naming = Naming(self.settings.container_parents)
        self._table = ProcessTable(self._reader, _boot_to_epoch(), container_of=naming.container_of)
        self._sweep = Sweep(self._table, self._reader)
        self._rows = ProcessRows(self._table, self._users, self._containers)
        self._builder = BatchBuilder()
        self._repeated = RepeatCache(self._table, self._containers)
        self._origins: dict[int, EventSource] = {}
        """Sources of this batch's events, by the row of their process."""
        self._started = time.time_ns()
        self._sequence = 0
        self._number = 1
        self._undecodable = 0
        self._requests = PendingRequests()
        self._repeating: BoundedMap[bytes, TrackedProcess] = BoundedMap(_MAX_REPEATING)
        """By the bytes that equal records share, the process at the last call that was sent whole."""
        self._repeat_counts = RepeatCounts()
        self._repeats: list[RepeatCount] = []
        """Counts from the kernel side that must wait until earlier records have been read."""
        self._counted_at = 0
        """When these counts were read, boot-clock nanoseconds."""
        self._told_version = 0
        self._last_counters: Mapping[str, int] = {}
        self._reported: dict[str, int] = {}
        self._last_flush = time.monotonic()
        self._tell_watched_at = self._last_flush
        self._interval = _BUSY_POLL
        self._count_losses_at = 0.0

    @property
    def kernel(self) -> str:
        """The kernel's release."""
        return self.host.kernel

    @property
    def hostname(self) -> str:
        """The host's name."""
        return self.host.name

    @property
    def started(self) -> int:
        """Wall clock of the collector's start, ns; with the sequence it identifies a batch."""
        return self._started

    @property
    def losses(self) -> Mapping[str, int]:
        """Everything lost since the start, by reason."""
        counters = self.counters()
        found = {
            **{name: counters.get(name, 0) for name in KERNEL_LOSSES},
            "undecodable": self._undecodable,
            "process_stale": self._table.stale,
            "io_uring_requests": self._requests.lost,
            "look_ups_given_up": self._look_ups.given_up + self._users.remote,
            **self._further_losses(),
        }
        return {reason: count for reason, count in found.items() if count}

    @property
    def has_more(self) -> bool:
        """Whether the last read left records that had already been sent."""
        return self._feed is not None and self._feed.has_more

    def counters(self) -> Mapping[str, int]:
        """Return the kernel side's counters: made = sent + lost, once everything is read."""
        return self._last_counters if self._feed is None else self._feed.counters()

    def filtered(self) -> Mapping[str, int]:
        """Return how many events the pushdown filter has dropped by event type; empty once stopped."""
        return {} if self._feed is None else self._feed.filtered()

    def start(self) -> None:
        """Attach to the kernel and read the existing processes; raises EnvironmentUnsupported."""
        join_host_cgroup_namespace()
        # Started first, so that its start is no event of this host.
        self._look_ups.start()
        try:
            self._feed = KernelFeed.open(
                self.event_types,
                self.settings.cache,
                self.settings.rings,
                given=self.settings.given_programs,
                interest=self._interest,
                environment=bool(self.settings.variables),
                sent_whole=self.settings.sent_whole,
                exact_paths=self.settings.exact_paths,
            )
        except BaseException:
            self._look_ups.close()
            raise
        if self._look_ups.pid is not None:
            self._ignore(self._look_ups.pid)
        # Attached first, so that a fork during the read of /proc comes as a record.
        self._table.seed(self._reader.read_all())
        self._last_flush = time.monotonic()

    def watch(
        self,
        event_types: Iterable[str],
        interest: PushdownFilter | None = None,
        *,
        variables: frozenset[str] | None = None,
    ) -> None:
        """Switch to other event types and another pushdown filter while running.

        Args:
            event_types: event types to watch.
            interest: pushdown filter; None sends every event.
            variables: names of the environment variables to collect at exec from now on; None leaves them unchanged.
        """
        if variables is not None:
            self._reader.variables = variables
            if self._feed is not None:
                self._feed.send_environment(wanted=bool(variables))
        self.event_types = frozenset(event_types)
        self._interest = interest
        self._tell_watched_at = time.monotonic()
        if self._feed is not None:
            self._feed.watch(self.event_types, interest)

    def change_interest(
        self,
        event_types: Iterable[str],
        interest: PushdownFilter | None,
        versions: frozenset[str],
        *,
        variables: frozenset[str] | None = None,
    ) -> None:
        """Switch to what published rules require, and stamp the batches with their versions.

        Args:
            event_types: event types to watch.
            interest: pushdown filter; None sends every event.
            versions: versions of the rules that require it.
            variables: names of the environment variables to collect at exec from now on; None leaves them unchanged.
        """
        self._flush()
        self.watch(event_types, interest, variables=variables)
        if self._feed is not None:
            # Events before the switch passed the old filter, those right after it the new one.
            self.versions = common(self.versions, versions)
            self._take(self._feed.read())
            if self._builder.count:
                self._flush()
        self.versions = versions
        # Processors wait for this: an empty batch tells them as well.
        self._flush()

    def poll(self, timeout: float) -> None:
        """Run for about this many seconds, emitting batches as they fill up or come due."""
        deadline = time.monotonic() + timeout
        while True:
            self._take(self._feed.read() if self._feed is not None else [])
            self._take_repeats()
            self._let_go()
            now = time.monotonic()
            self._compare(now)
            waited = now - self._last_flush
            if (self._builder.count and waited >= self.settings.flush_seconds) or (
                waited >= self.settings.heartbeat_seconds
            ):
                self._flush()
            rest = deadline - now
            if rest <= 0:
                return
            if not self.has_more:
                self._rest(min(rest, self.settings.flush_seconds - waited) if self._builder.count else rest)

    def _compare(self, now: float) -> None:
        """Compare the table with /proc, a little at a time, if process records were lost."""
        if self._feed is None:
            return
        if now >= self._count_losses_at:
            self._count_losses_at = now + _LOSSES_SECONDS
            counters = self._feed.counters()
            self._sweep.lost(sum(counters[reason] for reason in _LIFECYCLE_LOSSES))
        self._sweep.step(now, time.clock_gettime_ns(time.CLOCK_BOOTTIME), self._feed.read_until)

    def _rest(self, seconds: float) -> None:
        """Sleep until the next read: a fixed time while the host is busy, else until a record arrives."""
        if self._feed is None or self._interval < _IDLE_POLL or self._waiting:
            time.sleep(max(0.0, min(self._interval, seconds)))
        else:
            self._feed.wait(max(0.0, seconds))

    def stop(self) -> None:
        """Detach, emit what is left, and release all kernel resources."""
        if self._feed is None:
            return
        for records in self._feed.drain():
            self._take(records)
        for repeats in self._feed.repeats():
            self._add_repeats(repeats)
        self._last_counters = self._feed.counters()
        for record, entry in self._waiting.drain():
            self._add(record, entry)
        self._flush(stopping=True)
        self._containers.close()
        self._look_ups.close()
        feed, self._feed = self._feed, None
        feed.close()

    def _ignore(self, pid: int) -> None:
        if self._feed is not None:
            self._feed.ignore(pid)

    def _heed(self, pid: int) -> None:
        if self._feed is not None:
            self._feed.heed(pid)

    def _take(self, records: list[bytes]) -> None:
        # The longer nothing has happened, the longer until the next read.
        self._interval = _BUSY_POLL if records else min(self._interval * 1.5, _IDLE_POLL)
        for raw in records:
            if self._repeated.add(self._builder, raw, self._table.boot_to_epoch):
                self._added()
                continue
            try:
                record = decode(raw)
            except (ValueError, IndexError):
                self._undecodable += 1
                continue
            if isinstance(record, Syscall):
                entry = self._table.resolve(record.who)
                if record.is_last_whole:
                    self._repeating.put(identity_of(raw), self._table.frozen(entry))
                self._admit(record, entry, raw)
            elif isinstance(record, RepeatCount):
                self._add_repeats(record)
            elif isinstance(record, Request):
                call = self._requests.take(record)
                if call is not None:
                    self._admit(call, self._table.resolve(call.who))
            elif isinstance(record, Exit) and PROCEXIT in self.event_types:
                # Looked up first, because afterwards the process is no longer known.
                self._admit(record, self._table.ending(record))
                self._table.apply(record)
            else:
                if isinstance(record, Exec) and self._reader.variables:
                    record = replace(record, env=named(record.env or (), self._reader.variables))
                self._table.apply(record)
                if isinstance(record, Exec):
                    self._started_program(record)

    def _take_repeats(self) -> None:
        """Add counted repeats, once all records sent before have been read."""
        if self._feed is None or self._feed.read_until < self._counted_at:
            return
        for repeats in self._repeats:
            self._add_repeats(repeats)
        self._repeats = []
        if self._told_version != self._containers.version:
            self._told_version = self._containers.version
            self._feed.change_facts()
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if now - self._counted_at >= self.settings.repeats_seconds * 1e9:
            self._repeats = self._feed.repeats()
            self._counted_at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def _add_repeats(self, repeats: RepeatCount) -> None:
        fresh = self._repeat_counts.fresh(repeats)
        if not fresh:
            return
        call = decode(as_of(repeats.last, repeats.record))
        if isinstance(call, Syscall):
            call.repeats = fresh - 1
            entry = self._repeating.get(identity_of(repeats.record))
            self._admit(call, self._table.resolve(call.who) if entry is None else entry)

    def _started_program(self, record: Exec) -> None:
        entry = self._table.resolve(record.state.who)
        if entry.container is not None:
            # By the time of its first relevant event, the container may be gone, and its files with it.
            self._rows.prepare(entry)
            self._containers.is_pending(entry.container, time.monotonic_ns())
        if record.event_type in self.event_types:
            self._admit(record, entry)

    def _admit(self, record: Syscall | Exec | Exit, entry: TrackedProcess, raw: bytes = b"") -> None:
        """Add an event, unless its container's facts are still outstanding: then it alone waits."""
        name = entry.container
        if name is None:
            self._add(record, entry, raw)
            return
        now = time.monotonic_ns()
        if not self._waiting.should_hold(name.key, is_pending=self._containers.is_pending(name, now)):
            self._add(record, entry, raw)
            return
        self._rows.prepare(entry)
        for held in self._waiting.hold(name.key, (record, self._table.frozen(entry)), now):
            self._add(*held)

    def _let_go(self) -> None:
        now = time.monotonic_ns()
        for key in self._containers.tick(now):
            for held in self._waiting.known(key):
                self._add(*held)
        for held in self._waiting.expired(now):
            self._add(*held)

    def _add(self, record: Syscall | Exec | Exit, entry: TrackedProcess, raw: bytes = b"") -> None:
        """Add an event; raw, if given, is its record, which later events may repeat."""
        row = self._rows.row(entry)
        origin = self._origins.get(row)
        if origin is None:
            process = self._rows.processes[row]
            origin = self._origins[row] = EventSource(process, row, entry.is_stale, *self._names(entry, process))
        who = record.state.who if isinstance(record, Exec) else record.who
        time_of_event = who.time + self._table.boot_to_epoch
        if isinstance(record, Syscall):
            event = add_syscall(self._builder, record, origin, time_of_event)
            self.events += record.repeats
            if raw and not entry.is_stale:
                self._repeated.remember(self._builder, raw, record, event, entry)
        elif isinstance(record, Exit):
            add_exit(self._builder, record, origin, time_of_event)
        else:
            add_exec(self._builder, record, origin, time_of_event)
        self._added()

    def _added(self) -> None:
        self.events += 1
        size = self._builder.size + self._rows.size
        if self._builder.count >= self.settings.flush_events or size >= self.settings.flush_bytes:
            self._flush()

    def _names(
        self, entry: TrackedProcess, process: Process
    ) -> tuple[Callable[[int], str | None], Callable[[int], str | None]]:
        container = entry.container
        pids = () if container is None else (entry.pid,)

        def user_name(uid: int) -> str | None:
            return process.user if uid == process.uid else self._users.names(uid, None, None, container, pids).user

        def group_name(gid: int) -> str | None:
            return process.group if gid == process.gid else self._users.names(-1, gid, None, container, pids).group

        return user_name, group_name

    def _flush(self, *, stopping: bool = False) -> None:
        builder, self._builder = self._builder, BatchBuilder()
        self._repeated.clear()
        self._origins = {}
        if step := self._follow_clock():
            builder.shift(step)
        processes, containers = self._rows.take()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._sequence += 1
        lost = self.losses
        watched, narrowed, interest = self._take_watched()
        batch = EventBatch(
            host_id=self.host.id,
            hostname=self.host.name,
            boot_id=self.host.boot_id,
            collector_start=self._started,
            sequence=self._sequence,
            interest_version="+".join(sorted(self.versions)),
            created=time.time_ns(),
            collector_version=self.settings.version,
            kernel=self.host.kernel,
            first_number=self._number,
            count=builder.count,
            strings=builder.strings,
            processes=processes,
            containers=containers,
            columns=builder.columns(),
            previous_start=self.settings.previous_start if self._sequence == 1 else 0,
            previous_sequence=self.settings.previous_sequence if self._sequence == 1 else -1,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            memory_bytes=_resident_bytes(),
            lost={reason: fresh for reason, n in lost.items() if (fresh := n - self._reported.get(reason, 0))},
            watched=watched,
            narrowed=narrowed,
            interest=interest,
            stopping=stopping,
        )
        self._reported = dict(lost)
        self._number += builder.count
        self._last_flush = time.monotonic()
        self._on_batch(batch)

    def _take_watched(self) -> tuple[list[str], list[str], bytes]:
        """Return what is watched in full, what in part, and the filter for that part, if due for reporting."""
        now = time.monotonic()
        if now < self._tell_watched_at:
            return [], [], b""
        self._tell_watched_at = now + self.settings.heartbeat_seconds
        if self._interest is None:
            return sorted(self.event_types), [], b""
        whole = {way.event for way in self._interest.ways if not way.tests and way.places is None}
        narrowed = self.event_types & self._interest.events - whole
        return sorted(self.event_types - narrowed), sorted(narrowed), zlib.compress(encode_filter(self._interest))

    def _follow_clock(self) -> int:
        """Follow the wall clock if it was set, but not its slewing, which would reorder events.

        Returns:
            How far it was set since the last call, ns; usually 0.
        """
        step = _boot_to_epoch() - self._table.boot_to_epoch
        if abs(step) <= _CLOCK_SLACK:
            return 0
        self._table.boot_to_epoch += step
        return step


def _boot_to_epoch() -> int:
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_SIZE
