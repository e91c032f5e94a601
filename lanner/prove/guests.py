"""Guests for tests. An alert belongs to the test in whose process id namespace its process is.

So do those of cron, at and systemd in the guest, which no ancestry connects with the test.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lanner.prove.grades import GuestRun, Seen, raised_alert
from lanner.prove.guest import ATOMICS, CGROUPS, USER, Guest
from lanner.prove.run import TestHost
from notifier.sink import Delivered, RoutedAlert, SendOutcome, Sink
from schemas.alert import Alert
from schemas.batch import EventBatch

if TYPE_CHECKING:
    from lanner.prove.sinkhole import Sinkhole

NAMESPACE_START = "proc.pidns_init_start_ts"
"""The field by which guests differ: when the first process of the process's pid namespace started."""
_TICK = 10_000_000
_TOLERANCE = 1
_APART_SECONDS = 0.12


class GuestBoard(Sink):
    """Sorts alerts and events by guest."""

    def __init__(self, boot: int | None = None) -> None:
        """Take when the machine started, ns since the epoch, if it isn't this one that runs."""
        self._lock = threading.Lock()
        self._guests: dict[int, tuple[GuestRun, Seen]] = {}
        self.boot = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) if boot is None else boot
        """When the machine started, ns since the epoch."""

    def expect(self, run: GuestRun) -> Seen:
        """Start to collect what a command in a guest causes."""
        seen = Seen(run)
        with self._lock:
            self._guests[run.ticks] = run, seen
        return seen

    def forget(self, run: GuestRun) -> None:
        """Stop collecting."""
        with self._lock:
            self._guests.pop(run.ticks, None)

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Take alerts; those of no guest are left out."""
        for routed in alerts:
            self.take(routed.alert, (time.time_ns() - routed.alert.time) / 1e9)
        return Delivered()

    def take(self, alert: Alert, seconds: float) -> None:
        """Take an alert; seconds: how long after its event it came.

        A container of an engine may have started at the same time as a guest, which is none.
        """
        found = self._of(alert.output_fields.get(NAMESPACE_START))
        if found is None or alert.time < found[0].since or alert.event.get("proc.pid") in found[0].entering:
            return
        # A summary counts what has been reported, when the test may have ended.
        is_in_container = alert.event.get("container.id") not in (None, "", "host")
        if alert.repeats is not None or is_in_container or _is_other(alert.event.get("thread.cgroups"), found[0]):
            return
        with self._lock:
            found[1].alerts.append(raised_alert(alert, seconds))

    def run_of(self, start: object) -> GuestRun | None:
        """Return the run in the guest whose first process started then, ns since the epoch; None if there is none."""
        found = self._of(start)
        return None if found is None else found[0]

    def count(self, batch: EventBatch) -> None:
        """Count a batch's events of guests."""
        of_rows = [self._of(process.pidns_init_start_time) for process in batch.processes]
        for row, process in enumerate(batch.processes):
            of_row = of_rows[row]
            if of_row is not None and (process.container >= 0 or _is_other(process.cgroup, of_row[0])):
                of_rows[row] = None
        if any(of_rows):
            with self._lock:
                for row, at in zip(batch.columns["process"], batch.columns["time"], strict=True):
                    if row >= 0 and (found := of_rows[row]) is not None and at >= found[0].since:
                        found[1].events += 1

    def _of(self, start: object) -> tuple[GuestRun, Seen] | None:
        if not isinstance(start, int):
            return None
        ticks = (start - self.boot) // _TICK
        with self._lock:
            near = min(self._guests, key=lambda each: abs(each - ticks), default=None)
            return self._guests[near] if near is not None and abs(near - ticks) <= _TOLERANCE else None


def _is_other(cgroups: object, run: GuestRun) -> bool:
    """Return whether a process is in the cgroup of another guest. A test may have left its own."""
    return isinstance(cgroups, str) and CGROUPS in cgroups and run.cgroup not in cgroups


class Guests:
    """Starts guests for tests."""

    folder = ATOMICS
    user: str | None = USER
    is_lasting = False

    def __init__(self, image: Path, atomics: Path, sinkhole: "Sinkhole") -> None:
        """Take the guests' root directory, the folder of the tests, and what answers the guests' connections."""
        self.has_systemd = (image / "usr/lib/systemd/systemd").exists()
        self.board = GuestBoard()
        """The sink that gets the alerts of this machine."""
        self._image, self._atomics, self._sinkhole = image, atomics, sinkhole
        self._starting = threading.Lock()

    @contextmanager
    def place(self, *, booted: bool) -> Iterator[TestHost]:
        """Return a running guest."""
        with self._starting:
            # Guests are told apart by their start.
            guest = Guest(self._image, self._atomics, booted=booted, sinkhole=self._sinkhole)
            time.sleep(_APART_SECONDS)
        with guest:
            yield guest

    def expect(self, place: TestHost, _command: str) -> Seen:
        """Start to collect what a command in a guest causes."""
        guest = cast("Guest", place)
        return self.board.expect(
            GuestRun(guest.start_ticks, time.time_ns(), guest.entering, guest.booted, guest.cgroup)
        )

    def forget(self, seen: Seen) -> None:
        """Stop collecting."""
        if seen.run is not None:
            self.board.forget(seen.run)
