"""The collector of one host: kernel records in, event batches out. A thin shell around this package's pure parts."""

import os
import time
from collections.abc import Callable, Iterable, Mapping

from collector.batch_assembler import BatchAssembler, WatchReport
from collector.containers.lookup import KnownContainers
from collector.containers.runtimes import runtimes
from collector.host import HostFacts, boot_to_epoch, join_host_cgroup_namespace, this_host
from collector.kernel_feed import KERNEL_LOSSES, URGENT, WITH_CONTENTS, KernelFeed, ProgramLoading
from collector.processes.container_names import Isolation, Naming, host_mount_namespaces
from collector.processes.files import ProcessFiles
from collector.processes.programs import KnownPrograms
from collector.processes.servers import SECONDS, KnownServers
from collector.processes.sweep import Sweep
from collector.processes.table import ProcessTable
from collector.processes.users import UserFiles
from collector.procfs.look_ups import IDLE_SECONDS, LookUps
from collector.pushdown import common_versions
from collector.record_intake import RecordIntake
from collector.records.kernel_maps import REPEAT_SLOTS, RepeatPoll
from collector.settings import CollectorSettings
from foundation.text import OnNote, ignore_note
from schemas.batch import EventBatch
from schemas.filter import OPENED_FILES, PROGRAM_FILES, PushdownFilter

_POLL, _BUSY_POLL, _IDLE_POLL = 0.006, 0.040, 0.020
"""Seconds between two reads. On a busy host, each wake-up finds the processor's caches filled by other programs, so
that it costs more than the records themselves; the rings have room for several times as long."""
_BUSY_RECORDS, _BUSY_SECONDS = 1_000, 0.1
"""In a second, from which a host is busy; and over how long that is measured."""
_CONTENTS_PART = 0.1
"""The part of a record as which an answer of a name server or a TLS ClientHello counts for that: one program may cause
thousands of these, which must not delay the alerts of others."""
_MANY_CONTENTS = 200
"""In a second, from which they wake nobody and wait for their batch: nearly all match no rule."""
_CONTENTS_POLL, _CONTENTS_WAIT = 0.003, 0.01
"""Seconds between two reads then, and for which they wait. The alert of another event waits until those before it are
decoded and evaluated."""
_BUSY_WAIT = 0.1
"""For which a batch waits at least on a busy host, seconds: larger ones cost less."""
_HURRY_SECONDS, _HURRY_BURST = 0.02, 0.2
"""How often a batch is sent before its time because a rule may match: on average, and how much of that at once."""
_LOSSES_SECONDS = 1.0
_PROGRAM_SECONDS = 10.0
"""Until a look-up of a program is abandoned; events wait for it much shorter."""
_MAX_REPEATING = 4096
_FILES = frozenset({PROGRAM_FILES, OPENED_FILES})


class Collector:
    """One host's collector: start, poll until done, stop. Everything runs on the caller's thread."""

    def __init__(
        self,
        event_types: Iterable[str],
        *,
        on_batch: Callable[[EventBatch], None],
        pushdown_filter: PushdownFilter | None = None,
        versions: frozenset[str] = frozenset(),
        settings: CollectorSettings | None = None,
        further_losses: Callable[[], Mapping[str, int]] = dict,
        loading: ProgramLoading | None = None,
        isolation: Isolation | None = None,
        on_note: OnNote = ignore_note,
    ) -> None:
        """Set up a collector; start() attaches it.

        Args:
            event_types: event types that rules need; lifecycle records always come, for the process table.
            on_batch: called on the polling thread with each finished batch.
            pushdown_filter: pushdown filter; None sends every event.
            versions: versions of the published rules that require it.
            settings: how to work.
            further_losses: returns losses behind the collector by reason, as growing totals; batches report them.
            loading: the eBPF program, if its loading has begun.
            isolation: finds containers that no control group names; None for the way that the settings choose.
            on_note: receives messages for the operator.
        """
        self.settings = settings or CollectorSettings()
        self.host: HostFacts = this_host(self.settings.host_id, self.settings.host_name)
        self._versions = versions
        """Versions of the published rules whose filter is active; a batch lists those active for all its events."""
        self._on_batch, self._on_note = on_batch, on_note
        self._further_losses = further_losses
        self._pushdown_filter = pushdown_filter
        self._feed: KernelFeed | None = None
        self._loading = loading
        self.containers = KnownContainers(
            runtimes(self.settings.docker_socket, self.settings.podman_socket, self.settings.cri_sockets),
            on_failure=on_note,
        )
        self._look_ups = LookUps(on_start=self._ignore, on_end=self._unignore)
        self._has_containers = False
        self._programs: KnownPrograms | None = None
        """What the files of programs are, once a rule uses that."""
        self._servers: KnownServers | None = None
        """Which processes listen, if the settings require it."""
        self._users = UserFiles(look=self._look_ups.accounts)
        self._reader = ProcessFiles(variables=self.settings.variables - _FILES, memory=self._look_ups.memory)
        naming = Naming(self.settings.container_parents)
        if isolation is None:
            isolation = Isolation(host_mount_namespaces() if self.settings.unknown_containers else frozenset())
        self._table = ProcessTable(
            self._reader, boot_to_epoch(), container_of=naming.container_of, isolated=isolation.container_of
        )
        self._sweep = Sweep(self._table, self._reader)
        watched = frozenset(event_types)
        self.batch = BatchAssembler(
            self._table, self._users, self.containers, host=self.host, settings=self.settings, on_full=self._flush
        )
        # Twice, because a slot may be reused before its last count has been read.
        repeating = min(2 * REPEAT_SLOTS * (os.cpu_count() or 1), _MAX_REPEATING)
        self.intake = RecordIntake(
            self._table,
            self._reader,
            self.containers,
            self.batch,
            watched,
            repeating=repeating,
            on_engine=self._look_ups.expect_containers,
        )
        self._last_flush = time.monotonic()
        self._report = WatchReport(watched, pushdown_filter, self.settings.heartbeat_seconds, self._last_flush)
        self._repeats = RepeatPoll(self.settings.repeats_seconds)
        self._announced_version = 0
        """Version of the containers' facts last reported to the kernel side."""
        self._last_counters: Mapping[str, int] = {}
        self.emitted_until = 0
        """Boot-clock time up to which all events have been emitted, ns."""
        self._interval = _POLL
        self._is_quiet = self._is_busy = False
        self._recent, self._recent_contents, self._read_at = 0.0, 0.0, self._last_flush
        """Records read in the last _BUSY_SECONDS, about; those of them with contents; and when, monotonic s."""
        self._hurried_until = 0.0
        """What was sent before its time is compensated for at this time, monotonic s."""
        self._has_read = False
        """True if records were read since losses were last counted."""
        self._count_losses_at = 0.0

    @property
    def is_attached(self) -> bool:
        """True if the program is attached and has passed its self-test."""
        return self._feed is not None

    @property
    def off(self) -> Mapping[str, str]:
        """The features that are off under this kernel, each with the reason; empty until it is attached."""
        return {} if self._feed is None else self._feed.off

    @property
    def events(self) -> int:
        """All events since the start, including counted repeats."""
        return self.batch.events

    @property
    def kernel(self) -> str:
        """The kernel's release."""
        return self.host.kernel

    @property
    def hostname(self) -> str:
        """The host's name."""
        return self.host.name

    @property
    def losses(self) -> Mapping[str, int]:
        """Everything lost since the start, by reason."""
        counters = self._last_counters if self._feed is None else self._feed.losses()
        found = {
            **{name: counters.get(name, 0) for name in KERNEL_LOSSES},
            "undecodable": self.intake.undecodable,
            "process_stale": self._table.stale,
            "io_uring_requests": self.intake.requests.lost,
            "look_ups_given_up": self._look_ups.given_up + self._users.remote + self._given_up_servers(),
            "dns_unreadable": self.batch.looked_up.unreadable,
            "tls_unreadable": self.batch.server_names.unreadable,
            **self._further_losses(),
        }
        return {reason: count for reason, count in found.items() if count}

    @property
    def process_corrections(self) -> Mapping[str, int]:
        """How often processes were read again from /proc, or corrected by it, by cause."""
        return {"reread": self._table.rereads, "ended": self._sweep.ended, "changed": self._sweep.renewed}

    @property
    def container_unknown_for(self) -> float:
        """Seconds for which the oldest container has been unknown that is still looked up; 0 if there is none."""
        return self.containers.unknown_for(time.monotonic_ns()) / 1e9

    @property
    def program_outcomes(self) -> Mapping[str, int]:
        """Look-ups of programs that have ended, by origin; "abandoned" are those that took too long."""
        return {} if self._programs is None else self._programs.outcomes

    @property
    def has_more(self) -> bool:
        """True if the last read left records that had already been sent."""
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
        # Started first, so that its start is no event of this host; it becomes ready by the first query.
        self._look_ups.start()
        try:
            self._feed = KernelFeed.open(
                self.intake.event_types,
                self.settings.cache,
                self.settings.rings,
                pushdown_filter=self._pushdown_filter,
                variables=self._reader.variables,
                sent_whole=self.settings.sent_whole,
                mount_namespace=self.batch.mounts.namespace,
                exact_paths=self.settings.exact_paths,
                ignored=[] if self._look_ups.pid is None else [self._look_ups.pid],
                loading=self._loading,
            )
        except BaseException:
            self._look_ups.close()
            raise
        # The kernel has it now; it takes a MiB.
        self._pushdown_filter = None
        self._use_programs(self.settings.variables & _FILES)
        if self.settings.server_packages:
            self._servers = KnownServers(self.own_look_ups(SECONDS))
            self.batch.use_servers(self._servers)
        for feature, reason in self._feed.off.items():
            self._on_note(f"off: {feature}: {reason}")
        # Attached first, so that a fork during the read of /proc comes as a record.
        self._table.seed(self._reader.read_all())
        self._has_containers = any(each.container is not None for each in self._table.living.values())
        self._end_look_ups(0)
        self._last_flush = time.monotonic()

    def _end_look_ups(self, seconds: float) -> None:
        """End the process for look-ups after so many seconds without any, until the first container is seen.

        An event of a container often needs one, and would wait for the start of the process.
        """
        self._has_containers = self._has_containers or self.containers.count > 0
        if not self._has_containers:
            self._look_ups.end_idle(seconds)

    def watch(
        self,
        event_types: Iterable[str],
        pushdown_filter: PushdownFilter | None = None,
        *,
        variables: frozenset[str] | None = None,
    ) -> None:
        """Switch to other event types and another pushdown filter while running; None sends every event.

        variables: names of the environment variables to collect at exec from now on; None leaves them unchanged.
        """
        if variables is not None:
            self._use_programs(variables & _FILES)
            self._reader.variables = variables - _FILES
            if self._feed is not None:
                self._feed.send_variables(self._reader.variables)
        if self._feed is None:
            self._pushdown_filter = pushdown_filter
        self.intake.event_types = frozenset(event_types)
        self._report.change(self.intake.event_types, pushdown_filter, time.monotonic())
        if self._feed is not None:
            self._feed.watch(self.intake.event_types, pushdown_filter)

    def change_pushdown_filter(
        self,
        event_types: Iterable[str],
        pushdown_filter: PushdownFilter | None,
        versions: frozenset[str],
        *,
        variables: frozenset[str] | None = None,
    ) -> None:
        """Switch to the filter of the published rules, and put their versions into the batches.

        The other arguments are those of watch().
        """
        self._flush()
        self.watch(event_types, pushdown_filter, variables=variables)
        if self._feed is not None:
            # Events before the switch passed the old filter, those right after it the new one.
            self._versions = common_versions(self._versions, versions)
            self._take(self._feed.read())
            if self.batch.count:
                self._flush()
        self._versions = versions
        # Processors wait for this: an empty batch updates them as well.
        self._flush()

    def poll(self, timeout: float) -> None:
        """Run for about this many seconds, emitting batches as they fill up or come due."""
        deadline = time.monotonic() + timeout
        while True:
            self._take(self._feed.read() if self._feed is not None else [])
            self._take_repeats()
            self.intake.release()
            now = time.monotonic()
            self._compare(now)
            self._end_look_ups(IDLE_SECONDS)
            waited = now - self._last_flush
            wait = self.settings.wait_seconds(self.batch.count, waited)
            if self._is_busy and self.settings.hurries:
                wait = max(_BUSY_WAIT, self.settings.flush_seconds)
            elif self.batch.is_urgent and self._may_hurry(now):
                self._hurried_until = max(self._hurried_until, now) + _HURRY_SECONDS
                wait = 0
            elif self.settings.hurries and not self.batch.has_urgent_contents:
                wait = min(wait, _CONTENTS_WAIT)
            if (self.batch.count and waited >= wait) or waited >= self.settings.heartbeat_seconds:
                self._flush()
            if self._feed is not None and not self.batch.count and not self.intake.has_waiting:
                self.emitted_until = self._feed.read_until
            rest = deadline - now
            if rest <= 0:
                return
            if not self.has_more:
                self._sleep(min(rest, wait - waited) if self.batch.count else rest)

    def rest(self, seconds: float, until_readable: int) -> bool:
        """Sleep until there is something to do, if nothing has come for a while.

        Each wake-up of an idle host costs much more than its work, because the processor's caches are cold.

        Args:
            seconds: maximum time to sleep.
            until_readable: file descriptor that ends the sleep when it is readable; always the same one.

        Returns:
            Whether it slept; call poll(0) then.
        """
        has_work = self.batch.count or self.intake.has_waiting or self._repeats.has_counts or self._sweep.is_sweeping
        if self._feed is None or not self._is_quiet or has_work:
            return False
        heartbeat = self._last_flush + self.settings.heartbeat_seconds - time.monotonic()
        self._feed.wait(max(0.0, min(seconds, heartbeat)), until_readable)
        return True

    def _compare(self, now: float) -> None:
        """Compare the table with /proc, a little at a time, if process records were lost."""
        if self._feed is None:
            return
        # An empty ring loses nothing.
        if self._has_read and now >= self._count_losses_at:
            self._has_read = False
            self._count_losses_at = now + _LOSSES_SECONDS
            self._sweep.lost(self._feed.lifecycle_lost())
            self._feed.count_skipped()
        self._sweep.step(now, time.clock_gettime_ns(time.CLOCK_BOOTTIME), self._feed.read_until)

    def _sleep(self, seconds: float) -> None:
        """Sleep until the next read: a fixed time while many records come, else until the kernel reports one."""
        if self._feed is None or self.intake.has_waiting:
            time.sleep(max(0.0, min(self._interval, seconds)))
        elif self._is_quiet:
            self._feed.wait(max(0.0, seconds))
        elif self._may_hurry(time.monotonic()):
            few = self.batch.has_urgent_contents
            longest, waking = (_IDLE_POLL, WITH_CONTENTS) if few else (_CONTENTS_POLL, URGENT)
            self._feed.wait(max(0.0, min(longest, seconds)), waking=waking)
        else:
            time.sleep(max(0.0, min(self._interval, seconds)))

    def _may_hurry(self, now: float) -> bool:
        """Return whether few batches were sent before their time lately, and few records came."""
        return self.settings.hurries and self._hurried_until <= now + _HURRY_BURST

    def stop(self) -> None:
        """Detach, emit what is left, and release all kernel resources."""
        if self._feed is None:
            return
        for records in self._feed.drain():
            self._take(records)
        # Counts that were read before and waited for earlier records have not changed since, so they aren't read again.
        for repeats in (*self._repeats.take(), *self._feed.repeats()):
            self.intake.add_repeats(repeats)
        self._last_counters = self._feed.counters()
        self._feed.count_skipped()
        self.intake.drain()
        self._flush(stopping=True)
        self._use_programs(frozenset())
        if self._servers is not None:
            self._servers.close()
        self.containers.close()
        self.batch.mounts.close()
        self._look_ups.close()
        feed, self._feed = self._feed, None
        feed.close()

    def _use_programs(self, kinds: frozenset[str]) -> None:
        """Begin or end to look up what files of these kinds are; the look-ups have a process of their own."""
        former = self._programs
        if kinds and former is None:
            look_ups = self.own_look_ups(_PROGRAM_SECONDS)
            # As above.
            look_ups.start()
            self._programs = KnownPrograms(
                look_ups, self.settings.cache / "programs.json", self._table.first_in_container
            )
        elif not kinds:
            self._programs = None
        if self._programs is not None:
            self._programs.has_opened = OPENED_FILES in kinds
        self.intake.use_programs(self._programs)
        if former is not None and self._programs is None:
            former.close()

    def _given_up_servers(self) -> int:
        return 0 if self._servers is None else self._servers.given_up

    def own_look_ups(self, timeout: float) -> LookUps:
        """Return look-ups for a thread of another part of this program; the events of their server are not collected.

        timeout: seconds until a query is abandoned.
        """
        return LookUps(timeout=timeout, blocks=False, on_start=self._ignore, on_end=self._unignore)

    def _ignore(self, pid: int) -> None:
        if self._feed is not None:
            self._feed.ignore(pid)

    def _unignore(self, pid: int) -> None:
        if self._feed is not None:
            self._feed.unignore(pid)

    def _take(self, records: list[bytes]) -> None:
        now = time.monotonic()
        before = self.batch.with_contents
        self.intake.take(records)
        contents = self.batch.with_contents - before
        rest = max(0.0, 1 - (now - self._read_at) / _BUSY_SECONDS)
        self._recent = self._recent * rest + len(records) - contents + contents * _CONTENTS_PART
        self._recent_contents = self._recent_contents * rest + contents
        self.batch.has_urgent_contents = self._recent_contents < _MANY_CONTENTS * _BUSY_SECONDS
        self._read_at = now
        self._is_busy = self._recent >= _BUSY_RECORDS * _BUSY_SECONDS
        if self._is_busy:
            self._hurried_until = now + 2 * _HURRY_BURST
        if records:
            self._has_read = True
            self._interval = _BUSY_POLL if self._is_busy else _POLL
        else:
            # The longer nothing has happened, the longer until the next read.
            self._interval = min(self._interval * 1.5, _IDLE_POLL)
        self._is_quiet = not records and self._interval >= _IDLE_POLL

    def _take_repeats(self) -> None:
        """Add counted repeats, once all records sent before have been read."""
        if self._feed is None or not self._repeats.is_ready(self._feed.read_until):
            return
        for repeats in self._repeats.take():
            self.intake.add_repeats(repeats)
        if self._announced_version != self.containers.version:
            self._announced_version = self.containers.version
            self._feed.invalidate_repeats()
        self._repeats.read(self._feed.repeats)

    def _flush(self, *, stopping: bool = False) -> None:
        watched = self._report.take(time.monotonic())
        batch = self.batch.finish(self.losses, self._versions, watched, stopping=stopping)
        self._last_flush = time.monotonic()
        self._on_batch(batch)
