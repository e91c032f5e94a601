"""Runs tests in guests, several at once, and collects the alerts of each.

An alert belongs to the test in whose process id namespace its process is: so do those of cron, at and systemd, which no
ancestry connects with the test.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from lanner.prove.atomics import AtomicTest, Prerequisite
from lanner.prove.grades import GuestRun, RaisedAlert, TestResult, graded
from lanner.prove.guest import ATOMICS, USER, Ended, Guest, NoGuest
from notifier.formats.facts import action
from notifier.sink import Delivered, RoutedAlert, SendOutcome, Sink
from schemas.alert import Alert
from schemas.batch import EventBatch

NAMESPACE_START = "proc.pidns_init_start_ts"
"""The field by which guests differ: when the first process of the process's pid namespace started."""
COMMAND_SECONDS = 60.0
PREREQUISITE_SECONDS = 120.0
SETTLE_SECONDS = 1.5
"""How long alerts of a command that has ended are awaited."""
SCHEDULED_SECONDS = 70.0
"""The same for what cron, at or a timer starts within the next minute."""
_AT = r"(\bat\s+(-[a-z]|now|noon|midnight|\d)|\|\s*at\b|\bbatch\b)"
_SCHEDULED = re.compile(rf"\bcron(tab|\.d)?\b|\bOn(Calendar|BootSec|UnitActiveSec)\b|{_AT}")
_SERVICES = re.compile(
    r"\b(systemctl|service|systemd[\w-]*|journalctl|loginctl|hostnamectl|ufw|auditd|rsyslogd?|syslog|logger|dbus[\w-]*)\b"
    rf"|{_SCHEDULED.pattern}"
)
_TYPED = re.compile(r"\b(vim?|emacs|nano|ed|passwd|less|more|man|ftp|telnet|ssh|script)\b")
_KERNEL = re.compile(
    r"\b(swapoff|swapon|sysctl|hwclock|settimeofday|drop_caches|insmod|modprobe|rmmod|kexec|reboot|shutdown|poweroff|halt|"
    r"auditctl|setenforce|sysrq-trigger)\b|\bdate\s+(-s|--set|[\"\']?[$\d])|\btimedatectl\s+set"
)
"""What changes the machine below a guest, whose kernel is this one."""
_TICK = 10_000_000
_TOLERANCE = 5
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?")
_LAST_LINE = 120


@dataclass(slots=True)
class SeenOfGuest:
    """What was seen of one guest."""

    run: GuestRun
    events: int = 0
    alerts: list[RaisedAlert] = field(default_factory=list)


class GuestBoard(Sink):
    """Sorts alerts and events by guest."""

    def __init__(self, boot: int | None = None) -> None:
        """Take when the machine started, ns since the epoch, if it isn't this one that runs."""
        self._lock = threading.Lock()
        self._guests: dict[int, SeenOfGuest] = {}
        self.boot = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) if boot is None else boot
        """When the machine started, ns since the epoch."""

    def expect(self, run: GuestRun) -> SeenOfGuest:
        """Start to collect what a command in a guest causes."""
        with self._lock:
            return self._guests.setdefault(run.ticks, SeenOfGuest(run))

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
        """Take an alert; seconds: how long after its event it came."""
        seen = self._of(alert.output_fields.get(NAMESPACE_START))
        if seen is None or alert.time < seen.run.since or alert.event.get("proc.pid") in seen.run.entering:
            return
        techniques = tuple(tag for tag in alert.tags if _TECHNIQUE.fullmatch(tag))
        raised = RaisedAlert(alert.rule, alert.priority, techniques, seconds, alert.time, action(alert))
        with self._lock:
            seen.alerts.append(raised)

    def count(self, batch: EventBatch) -> None:
        """Count a batch's events of guests."""
        of_rows = [self._of(process.pidns_init_start_time) for process in batch.processes]
        if any(of_rows):
            with self._lock:
                for row, at in zip(batch.columns["process"], batch.columns["time"], strict=True):
                    if row >= 0 and (seen := of_rows[row]) is not None and at >= seen.run.since:
                        seen.events += 1

    def _of(self, start: object) -> SeenOfGuest | None:
        if not isinstance(start, int):
            return None
        ticks = (start - self.boot) // _TICK
        with self._lock:
            near = min(self._guests, key=lambda each: abs(each - ticks), default=None)
            return self._guests[near] if near is not None and abs(near - ticks) <= _TOLERANCE else None


class Prover:
    """Runs tests on threads of their own, each in a guest of its own."""

    def __init__(
        self,
        tests: Sequence[AtomicTest],
        board: GuestBoard,
        image: Path,
        atomics: Path,
        *,
        workers: int,
        on_result: Callable[[TestResult], None],
    ) -> None:
        """Take what to run.

        Args:
            tests: the tests.
            board: the sink that gets the alerts of this machine.
            image: the guests' root directory.
            atomics: the folder of the tests.
            workers: the number of guests at a time.
            on_result: called with each result, on the threads.
        """
        self.results: list[TestResult] = []
        self.problem = ""
        """Why no test ran."""
        self._board, self._image, self._atomics, self._on_result = board, image, atomics, on_result
        self._given_up = threading.Event()
        self._lock, self._starting = threading.Lock(), threading.Lock()
        self._waiting: SimpleQueue[AtomicTest] = SimpleQueue()
        # The longest first, so that none runs alone at the end.
        for test in sorted(tests, key=lambda each: _SCHEDULED.search(each.command) is None):
            self._waiting.put(test)
        self._workers = workers
        self._has_systemd = (image / "usr/lib/systemd/systemd").exists()
        self._thread = threading.Thread(target=self._run, name="prove", daemon=True)
        self._events_of_nothing: dict[bool, int] = {}
        self.baselines: list[GuestRun] = []
        """The runs of a command that does nothing."""
        self._running: set[Guest] = set()

    def start(self) -> None:
        """Start the threads; call it once events arrive."""
        self._thread.start()

    def is_done(self) -> bool:
        """Return whether all tests have ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def give_up(self) -> None:
        """Start no further test, and end the running ones, which have no result then."""
        self._given_up.set()
        for guest in tuple(self._running):
            guest.kill()
        if self._thread.ident is not None:
            self._thread.join(COMMAND_SECONDS)

    def _run(self) -> None:
        for booted in (False, True) if self._has_systemd else (False,):
            if problem := self._measure_nothing(booted=booted):
                self.problem = problem
                return
        threads = [threading.Thread(target=self._work, name=f"prove-{n}", daemon=True) for n in range(self._workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _measure_nothing(self, *, booted: bool) -> str:
        """Count the events of a command that does nothing; return the problem if it raises an alert."""
        try:
            with self._guest(booted=booted) as guest:
                seen, _ = self._watched(guest, "sh", "true", USER)
        except (NoGuest, OSError) as error:
            return str(error)
        self._events_of_nothing[booted] = seen.events
        self.baselines.append(seen.run)
        rules = ", ".join(dict.fromkeys(alert.rule for alert in seen.alerts))
        return f"a command that does nothing raised an alert: {rules}" if rules else ""

    def _work(self) -> None:
        while not self._given_up.is_set():
            try:
                test = self._waiting.get_nowait()
            except Empty:
                return
            try:
                result = self._one(test)
            except (NoGuest, OSError) as error:
                result = TestResult(test, "not run", str(error))
            if self._given_up.is_set():
                return
            with self._lock:
                self.results.append(result)
                self._on_result(result)

    def _one(self, given: AtomicTest) -> TestResult:
        if given.executor == "manual":
            return TestResult(given, "not run", "its steps are for people")
        test = given.filled(ATOMICS)
        if found := _KERNEL.search(test.command):
            return TestResult(given, "not run", f"it would change this machine's kernel: {found[0]}")
        text = "\n".join((test.command, *(each.get for each in test.prerequisites)))
        booted = self._has_systemd and _SERVICES.search(text) is not None
        user = None if test.as_root else USER
        with self._guest(booted=booted) as guest:
            for need in test.prerequisites:
                if problem := self._prepare(guest, test, need):
                    return TestResult(given, "not run", problem)
            waits = SCHEDULED_SECONDS if booted and _SCHEDULED.search(test.command) else 0.0
            seen, ended = self._watched(guest, test.executor, test.command, user, waits)
        return graded(given, _how(ended), seen.events - self._events_of_nothing.get(booted, 0), seen.alerts, seen.run)

    @contextmanager
    def _guest(self, *, booted: bool) -> Iterator[Guest]:
        with self._starting:
            # Guests are told apart by their start, so no two start at once.
            guest = Guest(self._image, self._atomics, booted=booted)
        self._running.add(guest)
        try:
            with guest:
                if self._given_up.is_set():
                    raise NoGuest("given up")
                yield guest
        finally:
            self._running.discard(guest)

    def _watched(
        self, guest: Guest, shell: str, command: str, user: str | None, waits: float = 0.0
    ) -> tuple[SeenOfGuest, Ended]:
        """Run a command and return what was seen of it."""
        seen = self._board.expect(GuestRun(guest.start_ticks, time.time_ns(), guest.entering, guest.booted))
        try:
            typed = _TYPED.search(command) is not None
            ended = guest.run([shell, "-c", command], user=user, seconds=COMMAND_SECONDS, typed=typed)
            self._settle(seen, waits)
        finally:
            self._board.forget(seen.run)
        return seen, ended

    def _prepare(self, guest: Guest, test: AtomicTest, need: Prerequisite) -> str:
        """Meet a prerequisite; return the problem, if any. What is missing is fetched as root."""
        if not need.check or guest.run([test.executor, "-c", need.check], seconds=PREREQUISITE_SECONDS).code == 0:
            return ""
        if need.get:
            guest.run([test.executor, "-c", need.get], seconds=PREREQUISITE_SECONDS)
        ended = guest.run([test.executor, "-c", need.check], seconds=PREREQUISITE_SECONDS)
        return "" if ended.code == 0 else f"prerequisite not met: {need.description.strip()}"

    def _settle(self, seen: SeenOfGuest, longest: float) -> None:
        """Wait for the alerts of what has happened; up to `longest` seconds if there is none yet."""
        self._given_up.wait(SETTLE_SECONDS)
        deadline = time.monotonic() + longest
        while time.monotonic() < deadline and not seen.alerts:
            if self._given_up.wait(0.5):
                return


def _how(ended: Ended) -> str:
    if ended.code is None:
        return f"stopped after {COMMAND_SECONDS:.0f} s"
    if ended.code == 0:
        return ""
    lines = ended.output.strip().splitlines()
    return f"exit code {ended.code}" + (f": {lines[-1][:_LAST_LINE]}" if lines else "")
