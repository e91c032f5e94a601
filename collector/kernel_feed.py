"""The live kernel as a stream of records: loads the program, merges both rings by time and counts losses."""

import contextlib
import os
import select
import struct
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from operator import itemgetter
from pathlib import Path

from collector.bpf.build import compiled, find_compiled
from collector.bpf.program import LoadedProgram, RingSizes, load
from collector.bpf.self_test import run_self_test
from collector.events.io_uring import uring_descriptors
from collector.events.system_calls import CALLS, NO_DESCRIPTOR, PATHS_ONLY, descriptors, watched_numbers
from collector.kernel import bpf_syscall
from collector.kernel.offsets import PATH_COPIES_FEATURE, features_off, has_all_features
from collector.pushdown import FilterLayout, FilterMaps, lay_out
from collector.records.decode import decode
from collector.records.exec_strings import VARIABLE_BYTES, kernel_keys
from collector.records.kernel_maps import REPEAT_BYTES, REPEAT_SLOTS, RepeatSlots, Ring, RingUses
from collector.records.types import Record, RepeatCount
from schemas.filter import EVERY_VARIABLE, PushdownFilter

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_VARIABLE = struct.Struct(f"<I{VARIABLE_BYTES}s")
_MAX_VARIABLES = 2048
"""Half of the map's capacity, which contains old and new ones during a change."""
COUNTERS = (
    *("events", "events_ring_full", "lifecycle", "lifecycle_ring_full", "filtered", "repeats"),
    *("events_over_share", "lifecycle_over_share"),
)
"""What the kernel side counts, in the order of its map."""
RING_LOSSES = ("events_ring_full", "lifecycle_ring_full", "events_over_share", "lifecycle_over_share")
"""Reasons of losses that the kernel side counts."""
_SKIPPED = "recursion_misses"
KERNEL_LOSSES = (*RING_LOSSES, _SKIPPED)
"""The same, and runs of programs that the kernel skips and counts itself."""
_LIFECYCLE_LOSSES = ("lifecycle_ring_full", "lifecycle_over_share")
_SETTING_WAKING, _SETTING_SENT_WHOLE, _SETTING_FACTS_VERSION, _SETTING_HOST_MOUNTS = 1, 2, 3, 4
_NEVER, URGENT, WITH_CONTENTS, ANY = 0, 1, 2, 3
"""Which records wake the reader: none, an exec or an event that a rule may match, but only from WITH_CONTENTS on also
an answer of a name server or a TLS ClientHello; or any."""
_SOON_SECONDS = 0.002
MAX_HELLOS = 1024
"""TLS ClientHellos of which the kernel side awaits the rest: those that all accounts may begin in HELLO_SECONDS."""
HELLO_SECONDS = 4.0
_OPEN_HELLOS = 2
"""The number of their share in the map of ring uses, which has those of both rings before."""
SENT_WHOLE = 10
"""Equal calls of one process that are sent whole per second and CPU."""
_SWITCH_SECONDS = 0.000_5
_AHEAD = 1000
"""Records of one ring that may queue up for the other before the ring is no longer read."""
_PEEKED = 10_000
"""Records that are retained while the self-test runs."""
_by_time = itemgetter(0)


_Loaded = tuple[LoadedProgram, dict[str, int], Mapping[str, str]]
"""The program, its descriptors, and the features that are off with the reasons."""


def _load(cache: Path, sizes: RingSizes) -> _Loaded:
    compilation = compiled(cache)
    program, loaded = load(compilation, sizes)
    return program, loaded, {} if has_all_features(compilation.numbers) else features_off()


class ProgramLoading:
    """A program that is loaded on a thread, which leaves the interpreter to others while the kernel verifies it."""

    def __init__(self, cache: Path, sizes: RingSizes) -> None:
        """Begin, if it is compiled already; the arguments are those of KernelFeed.open()."""
        self._from = cache, sizes
        self._loaded: _Loaded | None = None
        self._error: BaseException | None = None
        # Each of some hundred system calls gives Python's lock to the other threads, and has to wait for it afterwards.
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        # Nobody waits for a daemon, so that an error in the rules ends the process at once.
        self._thread = threading.Thread(target=self._begin, name="bpf-load", daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        try:
            self._loaded = None if find_compiled(self._from[0])[0] is None else _load(*self._from)
        except BaseException as error:  # noqa: BLE001  raised where the result is needed
            self._error = error
        finally:
            sys.setswitchinterval(self._switch_interval)

    def result(self) -> _Loaded:
        """Return the program, once; compile it if necessary. Raises EnvironmentUnsupported."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        found, self._loaded = self._loaded, None
        return found or _load(*self._from)


class KernelFeed:
    """One attached program. Records come out in the order of their times."""

    def __init__(self, program: LoadedProgram, sizes: RingSizes, *, exact_paths: bool = True) -> None:
        """Take ownership of a loaded program; close() closes it."""
        self._program = program
        self._exact_paths = exact_paths
        self._is_attached = self._has_paths = self._has_connections = False
        self._waking = _NEVER
        self._events = Ring(program.maps["events"], sizes.events)
        self._lifecycle = Ring(program.maps["lifecycle"], sizes.lifecycle)
        self._queues: tuple[tuple[Ring, list[tuple[int, bytes]]], ...] = ((self._events, []), (self._lifecycle, []))
        """Records read from each ring but not returned yet, by time."""
        self._variables: Mapping[bytes, int] = {}
        self._watched: tuple[frozenset[int], ...] = (frozenset(), frozenset(), frozenset())
        self._cpus = bpf_syscall.possible_cpus()
        self._facts_version = 0
        self._off: Mapping[str, str] = {}
        self._skipped = 0
        self.read_until = 0
        """All records before this boot-clock time, in nanoseconds, have been returned."""
        self._uses = RingUses(program.maps["ring_uses"], (sizes.events, sizes.lifecycle, MAX_HELLOS))
        self._age_hellos_at = 0
        records = program.maps["repeated_records"]
        self._repeats = RepeatSlots(
            program.maps["repeats"],
            REPEAT_SLOTS * self._cpus,
            lambda slot: bpf_syscall.lookup(records, _U32.pack(slot), REPEAT_BYTES),
        )
        self._filter_maps = FilterMaps(program.maps)
        self._wake = select.poll()
        for name in ("events", "lifecycle"):
            self._wake.register(program.maps[name], select.POLLIN)

    @classmethod
    def open(
        cls,
        event_types: Iterable[str],
        cache: Path,
        sizes: RingSizes,
        *,
        pushdown_filter: PushdownFilter | None = None,
        variables: Iterable[str] = (),
        sent_whole: int = SENT_WHOLE,
        exact_paths: bool = True,
        mount_namespace: int = 0,
        ignored: Iterable[int] = (),
        loading: ProgramLoading | None = None,
    ) -> "KernelFeed":
        """Load, attach and test the program.

        Args:
            event_types: event types to send; lifecycle records and state changes are always sent.
            cache: folder for the compiled program.
            sizes: sizes of the rings.
            pushdown_filter: pushdown filter; None sends every event.
            variables: names of the environment variables that rules use.
            sent_whole: how many equal calls of one process are sent per second and CPU; further calls are counted. 0
                sends all of them.
            exact_paths: take the paths of calls that leave no open file from the kernel's own copies, which user space
                can't change.
            mount_namespace: inode number of the host's: absolute paths of processes in it have the root directory
                that they start from, if it is another than the host's.
            ignored: pids of further processes of ours, as for ignore().
            loading: the program, if its loading has begun.

        Raises:
            EnvironmentUnsupported: this host, user or kernel can't run the program; the message gives the reason.
        """
        # Laid out while the kernel verifies the program.
        layout = None if pushdown_filter is None else lay_out(pushdown_filter)
        program, loaded, off = _load(cache, sizes) if loading is None else loading.result()
        feed = cls(program, sizes, exact_paths=exact_paths)
        feed._off = off
        try:
            for pid in (os.getpid(), *ignored):
                feed.ignore(pid)
            feed.send_variables(variables)
            feed._set(_SETTING_SENT_WHOLE, sent_whole)
            feed._set(_SETTING_HOST_MOUNTS, mount_namespace)
            feed._watch(event_types, layout)
            program.attach(loaded)
            feed._is_attached = True
            feed._switch_probes()
            run_self_test(feed._peek, feed.lifecycle_lost)
        except BaseException:
            feed.close()
            raise
        finally:
            for descriptor in loaded.values():
                os.close(descriptor)
        return feed

    @property
    def off(self) -> Mapping[str, str]:
        """What is off because the kernel lacks something, each with the reason.

        That a kernel refuses programs at functions shows only when a filter first needs one.
        """
        refused = {PATH_COPIES_FEATURE: "this kernel refuses programs at its functions"}
        return {**self._off, **(refused if self._program.path_copies.are_refused else {})}

    def watch(self, event_types: Iterable[str], pushdown_filter: PushdownFilter | None = None) -> None:
        """Switch to other event types and another pushdown filter; None sends every event.

        System calls in both sets stay enabled throughout.
        """
        self._watch(event_types, None if pushdown_filter is None else lay_out(pushdown_filter))

    def _watch(self, event_types: Iterable[str], layout: FilterLayout | None) -> None:
        self._filter_maps.put(layout)
        sent = frozenset(event_types)
        by_number, by_socketcall = descriptors(sent)
        tables = (by_number, by_socketcall, watched_numbers(by_number, sent))
        for name, before, table in zip(("descriptors", "socketcalls", "watched"), self._watched, tables, strict=True):
            for number, packed in table.items():
                bpf_syscall.update(self._program.maps[name], _U32.pack(number), packed)
            for number in before - table.keys():
                bpf_syscall.update(self._program.maps[name], _U32.pack(number), NO_DESCRIPTOR)
        self._watched = tuple(frozenset(table) for table in tables)
        self._has_paths = PATHS_ONLY in tables[2].values()
        self._has_connections = "connect" in sent
        self._switch_probes()
        if "uring_calls" in self._program.maps:
            for operation, packed in uring_descriptors(sent).items():
                bpf_syscall.update(self._program.maps["uring_calls"], _U32.pack(operation), packed)

    def ignore(self, pid: int) -> None:
        """Drop the events of one of our own processes, as for this process; call unignore() when it ends."""
        bpf_syscall.update(self._program.maps["ignored"], _U32.pack(pid), b"\1")

    def unignore(self, pid: int) -> None:
        """Stop dropping the events of the process with this pid."""
        with contextlib.suppress(OSError):  # the pid was not ignored
            bpf_syscall.delete(self._program.maps["ignored"], _U32.pack(pid))

    def _switch_probes(self) -> None:
        """Attach only the probes that what is watched needs."""
        if self._is_attached:
            self._program.path_copies.switch(enabled=self._exact_paths and self._has_paths)
            self._program.watch_connections(enabled=self._has_connections)

    def send_variables(self, names: Iterable[str]) -> None:
        """Set which environment variables are sent at exec, beside those that code paths depend on."""
        wanted = kernel_keys(names)
        if len(wanted) > _MAX_VARIABLES:
            wanted = kernel_keys([EVERY_VARIABLE])
        for key, uses in wanted.items():
            bpf_syscall.update(self._program.maps["variables"], _variable_key(key), bytes([uses]))
        for key in self._variables.keys() - wanted.keys():
            bpf_syscall.delete(self._program.maps["variables"], _variable_key(key))
        self._variables = wanted

    def read(self) -> list[bytes]:
        """Return the records up to now, in order.

        A lifecycle record is never returned before an earlier event. Records from after the start of this call, or
        after the last one read from a ring that has more, wait for the next call. A ring with many records queued is
        not read, so that a flood in one ring doesn't pull the whole other ring into memory.
        """
        started = now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for number, (ring, queue) in enumerate(self._queues):
            is_whole = False
            if len(queue) < _AHEAD:
                queue += [(_U64.unpack_from(record)[0], record) for record in ring.read()]
                is_whole = not ring.has_more
                self._uses.read(number, ring.position)
            if queue and not is_whole:
                now = min(now, queue[-1][0])
        self.read_until = now
        if started >= self._age_hellos_at:
            self._age_hellos_at = started + int(HELLO_SECONDS * 1e9)
            self._uses.age(_OPEN_HELLOS)
        ready: list[tuple[int, bytes]] = []
        for _, queue in self._queues:
            queue.sort(key=_by_time)
            end = bisect_right(queue, now, key=_by_time)
            ready += queue[:end]
            del queue[:end]
        if ready:
            # Left on while nothing comes, because switching costs more than everything else of a wake-up.
            self._set_waking(_NEVER)
        ready.sort(key=_by_time)
        return [record for _, record in ready]

    def wait(self, seconds: float, until_readable: int | None = None, *, waking: int = ANY) -> bool:
        """Sleep until a record is sent or the time is over.

        The wake-up is paid by the traced program, so use this only while few records come.

        Args:
            seconds: maximum time to sleep.
            until_readable: file descriptor that ends the sleep when it is readable; always the same one.
            waking: which records end it: URGENT, WITH_CONTENTS or ANY.

        Returns:
            Whether there is something to read.
        """
        if any(queue for _, queue in self._queues):
            time.sleep(min(seconds, _SOON_SECONDS))
            return True
        self._set_waking(waking)
        # Records sent before the kernel side read the setting wake nobody.
        if not (self._events.is_empty and self._lifecycle.is_empty):
            return True
        if until_readable is None:
            return bool(self._wake.poll(seconds * 1000))
        self._wake.register(until_readable, select.POLLIN)
        found = self._wake.poll(seconds * 1000)
        self._wake.unregister(until_readable)
        return bool(found)

    def _set_waking(self, which: int) -> None:
        """Set which records wake the reader."""
        if which != self._waking:
            self._waking = which
            self._set(_SETTING_WAKING, which)

    def repeats(self) -> list[RepeatCount]:
        """Return the repeat counts that have changed since the last call.

        Records sent before are returned by `read`, and must be processed first.
        """
        return list(self._repeats.changed())

    def invalidate_repeats(self) -> None:
        """Announce that facts shown in events have changed: repeated calls are sent whole again."""
        self._facts_version += 1
        self._set(_SETTING_FACTS_VERSION, self._facts_version)

    @property
    def has_more(self) -> bool:
        """True if the last read left records that had already been sent."""
        return self._events.has_more or self._lifecycle.has_more

    def drain(self) -> Iterator[list[bytes]]:
        """Detach the probes and yield all remaining records."""
        self._program.detach()
        yield self.read()
        while self.has_more:
            yield self.read()
        yield [record for _, record in sorted(chain.from_iterable(queue for _, queue in self._queues), key=_by_time)]
        for _, queue in self._queues:
            queue.clear()

    def counters(self) -> Mapping[str, int]:
        """Return the kernel side's counters: records made, records lost by reason, and events filtered."""
        return {**{name: self._counter(name) for name in COUNTERS}, _SKIPPED: self._program.runs_skipped()}

    def losses(self) -> Mapping[str, int]:
        """Return the counters of KERNEL_LOSSES only, because each takes a system call.

        Skipped runs are those of the last count_skipped().
        """
        return {**{name: self._counter(name) for name in RING_LOSSES}, _SKIPPED: self._skipped}

    def count_skipped(self) -> None:
        """Count the runs of programs that the kernel has skipped, which takes a system call for each program."""
        self._skipped = self._program.runs_skipped()

    def lifecycle_lost(self) -> int:
        """Return how many records of processes the kernel side has lost, or the kernel has skipped."""
        return sum(map(self._counter, _LIFECYCLE_LOSSES)) + self._program.runs_skipped(only_lifecycle=True)

    def filtered(self) -> Mapping[str, int]:
        """Return how many events the pushdown filter has dropped, by event type."""
        return {call.event: self._sum("filtered", call.number) for call in CALLS}

    def _set(self, setting: int, value: int) -> None:
        bpf_syscall.update(self._program.maps["settings"], _U32.pack(setting), _U64.pack(value))

    def _counter(self, name: str) -> int:
        return self._sum("counters", COUNTERS.index(name))

    def _sum(self, name: str, number: int) -> int:
        values = bpf_syscall.lookup(self._program.maps[name], _U32.pack(number), 8 * self._cpus)
        return sum(struct.unpack(f"<{self._cpus}Q", values))

    def close(self) -> None:
        """Release all kernel resources."""
        self._repeats.close()
        self._uses.close()
        self._events.close()
        self._lifecycle.close()
        self._program.close()

    def _peek(self) -> list[Record]:
        ring, queue = self._queues[1]
        records = ring.read()
        self._uses.read(1, ring.position)
        queue += [(_U64.unpack_from(record)[0], record) for record in records]
        # The next step reads all processes from /proc, which includes what happened long before.
        del queue[:-_PEEKED]
        return [decode(record) for record in records]


def _variable_key(beginning: bytes) -> bytes:
    return _VARIABLE.pack(8 * len(beginning), beginning)
