"""The live kernel as a stream of records: loads the program, reads both rings, merges them by time, counts losses."""

import contextlib
import os
import select
import struct
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path

from collector.bpf.program import LoadedProgram, RingSizes, compiled, load
from collector.events.io_uring import uring_descriptors
from collector.events.system_calls import CALLS, PATHS_ONLY, descriptors, watched_numbers
from collector.kernel import bpf_syscall
from collector.pushdown.maps import FilterMaps
from collector.records.decode import decode
from collector.records.repeat_counts import REPEAT_BYTES, REPEAT_SLOTS, RepeatSlots
from collector.records.ring import Ring, RingUses
from collector.records.types import Record, RepeatCount
from collector.self_test import run_self_test
from schemas.filter import PushdownFilter

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_NOTHING = bytes(18)
_COUNTERS = (
    *("events", "events_ring_full", "lifecycle", "lifecycle_ring_full", "filtered", "repeats"),
    *("events_over_share", "lifecycle_over_share"),
)
_SETTING_ENVIRONMENT, _SETTING_ASLEEP, _SETTING_SENT_WHOLE, _SETTING_FACTS_VERSION = 0, 2, 3, 4
_SOON_SECONDS = 0.002
SENT_WHOLE = 10
"""Equal calls of a process that are sent in a second, on each CPU."""
_AHEAD = 1000
"""Records of one ring that may wait for the other before it is read again."""
_PEEKED = 10_000
"""Records that are kept while the self-test runs."""
_by_time = itemgetter(0)


class KernelFeed:
    """One attached program; records come in the order of their times."""

    def __init__(self, program: LoadedProgram, sizes: RingSizes, *, exact_paths: bool = True) -> None:
        """Take a loaded program, which is this object's to close."""
        self._program = program
        self._exact_paths = exact_paths
        self._is_attached = self._has_paths = False
        self._events = Ring(program.maps["events"], sizes.events)
        self._lifecycle = Ring(program.maps["lifecycle"], sizes.lifecycle)
        self._queues: tuple[tuple[Ring, list[tuple[int, bytes]]], ...] = ((self._events, []), (self._lifecycle, []))
        """What was read of each ring and not handed out yet, by time."""
        self._watched: tuple[frozenset[int], ...] = (frozenset(), frozenset(), frozenset())
        self._cpus = bpf_syscall.possible_cpus()
        self._facts_version = 0
        self.read_until = 0
        """All records of before were handed out; boot-clock nanoseconds."""
        self._uses = RingUses(program.maps["ring_uses"], (sizes.events, sizes.lifecycle))
        self._repeats = RepeatSlots(program.maps["repeats"], REPEAT_SLOTS * self._cpus, self._repeated_record)
        self._interest = FilterMaps(program.maps)
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
        given: Sequence[Path] = (),
        interest: PushdownFilter | None = None,
        environment: bool = False,
        sent_whole: int = SENT_WHOLE,
        exact_paths: bool = True,
    ) -> "KernelFeed":
        """Load, attach and test.

        Args:
            event_types: what to send; lifecycle and state changes always come.
            cache: folder for the compiled program.
            sizes: of the rings.
            given: compiled programs that a like host made: files, or folders of them.
            interest: which events could matter; None for all.
            environment: send environment variables at exec.
            sent_whole: how many equal calls of a process are sent in a second, on each CPU; further ones are counted.
                0: all are sent.
            exact_paths: take the paths of calls that leave no open file from the kernel's copies, which nobody can
                change.

        Raises:
            EnvironmentLacks: this host, user or kernel can't do it; the message says why.
        """
        program, loaded = load(compiled(cache, given), sizes)
        feed = cls(program, sizes, exact_paths=exact_paths)
        try:
            bpf_syscall.update(program.maps["ignored"], _U32.pack(os.getpid()), b"\1")
            feed.send_environment(wanted=environment)
            feed._set(_SETTING_SENT_WHOLE, sent_whole)
            feed.watch(event_types, interest)
            program.attach(loaded)
            feed._is_attached = True
            feed._copy_paths()
            run_self_test(feed._peek, feed._lifecycle_lost)
        except BaseException:
            feed.close()
            raise
        finally:
            for descriptor in loaded.values():
                os.close(descriptor)
        return feed

    def watch(self, event_types: Iterable[str], interest: PushdownFilter | None = None) -> None:
        """Switch to these event types and this interest; a call that stays on is never off in between.

        Args:
            event_types: what to send.
            interest: which events could matter; None for all.
        """
        self._interest.put(interest)
        by_number, by_socketcall = descriptors(event_types)
        tables = (by_number, by_socketcall, watched_numbers(by_number))
        for name, before, table in zip(("descriptors", "socketcalls", "watched"), self._watched, tables, strict=True):
            for number, packed in table.items():
                bpf_syscall.update(self._program.maps[name], _U32.pack(number), packed)
            for number in before - table.keys():
                bpf_syscall.update(self._program.maps[name], _U32.pack(number), _NOTHING)
        self._watched = tuple(frozenset(table) for table in tables)
        self._has_paths = PATHS_ONLY in tables[2].values()
        self._copy_paths()
        if "uring_calls" in self._program.maps:
            for operation, packed in uring_descriptors(event_types).items():
                bpf_syscall.update(self._program.maps["uring_calls"], _U32.pack(operation), packed)

    def ignore(self, pid: int) -> None:
        """Leave out what a process of our own does, as what we do ourselves; it has to be heeded when it ends."""
        bpf_syscall.update(self._program.maps["ignored"], _U32.pack(pid), b"\1")

    def heed(self, pid: int) -> None:
        """Leave out no longer what the process with this pid does."""
        with contextlib.suppress(OSError):  # it wasn't left out
            bpf_syscall.delete(self._program.maps["ignored"], _U32.pack(pid))

    def _copy_paths(self) -> None:
        if self._is_attached:
            self._program.copy_paths(wanted=self._exact_paths and self._has_paths)

    def send_environment(self, *, wanted: bool) -> None:
        """Send environment variables at exec from now on, or no longer."""
        self._set(_SETTING_ENVIRONMENT, int(wanted))

    def read(self) -> list[bytes]:
        """Take what has happened until now, in order.

        A lifecycle record is never handed out before an event that came earlier: what came after the start of this
        look, or after what is read of a ring that holds more, waits for the next. A ring of which much waits already
        is not read: else a flood in one would have us take all that the other holds.
        """
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for number, (ring, queue) in enumerate(self._queues):
            is_whole = False
            if len(queue) < _AHEAD:
                queue += [(_U64.unpack_from(record)[0], record) for record in ring.read()]
                is_whole = not ring.has_more
                self._uses.read(number, ring.position)
            if queue and not is_whole:
                now = min(now, queue[-1][0])
        self.read_until = now
        ready: list[tuple[int, bytes]] = []
        for _, queue in self._queues:
            queue.sort(key=_by_time)
            end = bisect_right(queue, now, key=_by_time)
            ready += queue[:end]
            del queue[:end]
        ready.sort(key=_by_time)
        return [record for _, record in ready]

    def wait(self, seconds: float) -> bool:
        """Sleep until something is sent, or until the time is over.

        Being woken costs the program that sends: this is for a host on which little happens.

        Args:
            seconds: to sleep at most.

        Returns:
            Whether there is something to read.
        """
        if any(queue for _, queue in self._queues):
            time.sleep(min(seconds, _SOON_SECONDS))
            return True
        self._set(_SETTING_ASLEEP, 1)
        try:
            # What was sent before the kernel side knew of it wakes nobody.
            is_empty = self._events.is_empty and self._lifecycle.is_empty
            return not is_empty or bool(self._wake.poll(seconds * 1000))
        finally:
            self._set(_SETTING_ASLEEP, 0)

    def repeats(self) -> list[RepeatCount]:
        """Return what was counted instead of sent, as far as it has changed since the last call.

        What was sent before comes by `read`, and belongs before this.
        """
        return list(self._repeats.changed())

    def change_facts(self) -> None:
        """Take note that facts have changed that events tell of: what processes repeat is sent whole again."""
        self._facts_version += 1
        self._set(_SETTING_FACTS_VERSION, self._facts_version)

    def _repeated_record(self, slot: int) -> bytes:
        return bpf_syscall.lookup(self._program.maps["repeated_records"], _U32.pack(slot), REPEAT_BYTES)

    @property
    def has_more(self) -> bool:
        """Whether the last read left what had already happened."""
        return self._events.has_more or self._lifecycle.has_more

    def drain(self) -> Iterator[list[bytes]]:
        """Stop the probes and take all that is left."""
        self._program.detach()
        yield self.read()
        while self.has_more:
            yield self.read()
        yield [record for _, record in sorted(chain.from_iterable(queue for _, queue in self._queues), key=_by_time)]
        for _, queue in self._queues:
            queue.clear()

    def counters(self) -> Mapping[str, int]:
        """Give what the kernel side counted: records made, what of these found its ring full, and what was left out."""
        return {name: self._sum("counters", number) for number, name in enumerate(_COUNTERS)}

    def filtered(self) -> Mapping[str, int]:
        """Give, by event type, how many events were left out because they could matter to no rule."""
        return {call.event: self._sum("filtered", call.number) for call in CALLS}

    def _set(self, setting: int, value: int) -> None:
        bpf_syscall.update(self._program.maps["settings"], _U32.pack(setting), _U64.pack(value))

    def _sum(self, name: str, number: int) -> int:
        values = bpf_syscall.lookup(self._program.maps[name], _U32.pack(number), 8 * self._cpus)
        return sum(struct.unpack(f"<{self._cpus}Q", values))

    def close(self) -> None:
        """Give everything back to the kernel."""
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
        # Whoever reads on takes the processes from /proc first: what happened long before that is in it.
        del queue[:-_PEEKED]
        return [decode(record) for record in records]

    def _lifecycle_lost(self) -> int:
        counters = self.counters()
        return counters["lifecycle_ring_full"] + counters["lifecycle_over_share"]
