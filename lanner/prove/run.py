"""Runs tests in guests, several at once, or one by one on this host, and collects what was detected of each."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from queue import Empty, SimpleQueue
from typing import Protocol

from lanner.prove.atomics import AtomicTest, Prerequisite
from lanner.prove.grades import GuestRun, Seen, TestResult, graded
from lanner.prove.guest import Ended, NoGuest

DEFAULT_SECONDS = 60.0
"""How long a command may run."""
PREREQUISITE_SECONDS = 120.0
SETTLE_SECONDS = 60.0
"""How long the events of a command that has ended are awaited at most, where the machine is too busy to read them."""
TIMER_SECONDS = 70.0
"""How long the alert of what a timer starts is awaited."""
_MINUTE_SECONDS = 60.0
_CRON_SECONDS = 4.0
"""How long after the minute begins cron and at have started their jobs."""
_AT = r"(\bat\s+(-[a-z]|now|noon|midnight|\d)|\|\s*at\b|\bbatch\b)"
_TIMED = r"\bOn(Calendar|BootSec|ActiveSec|UnitActiveSec|StartupSec)\b|--on-[a-z]+="
_TIMER = re.compile(_TIMED)
_SCHEDULED = re.compile(rf"\bcron(tab|\.d)?\b|{_AT}|{_TIMED}")
_SERVICES = re.compile(
    r"\b(systemctl|service|systemd[\w-]*|journalctl|loginctl|hostnamectl|localectl|timedatectl|busctl|ufw|auditd|rsyslogd?"
    rf"|syslog|logger|dbus[\w-]*|reboot|shutdown|poweroff|halt)\b|{_SCHEDULED.pattern}"
)
_FIREWALL_ON = "ufw --force enable; touch /var/log/ufw.log"
_FIREWALL = re.compile(r"\bufw\b")
_TYPED = re.compile(
    r"(?:^|[;&|({]|\b(?:sudo|then|do|else|exec|env|nohup)\b)\s*(?:-\S+\s+)*(?:/\S*/)?"
    r"(vi|vim|view|emacs|nano|ed|passwd|less|more|man|ftp|telnet|ssh|script)\s",
    re.MULTILINE,
)
"""Programs that wait for somebody at a terminal."""
_KERNEL = re.compile(
    r"\b(swapoff|swapon|sysctl(?!\.)|drop_caches|insmod|modprobe|rmmod|kexec|auditctl|setenforce|sysrq-trigger)\b"
)
_CLOCK = re.compile(r"\b(hwclock|settimeofday)\b|\bdate\s+(-s|--set|[\"\']?[$\d])|\btimedatectl\s+set")
"""What changes the kernel, which a guest shares with this machine. It can't restart it: its own first process ends."""
_RESTART = re.compile(r"\b(reboot|shutdown|poweroff|halt|(tel)?init\s+[06])\b")
"""What ends the machine where a test has no guest of its own."""
_LAST_LINE = 120


def change_of_kernel(commands: str, *, is_lasting: bool) -> str:
    """Return what in a test's commands would change this machine's kernel; empty if nothing.

    The clock of a guest can't be set, as nothing in it has the capability: the attempt fails there, and is detected.
    """
    found = _KERNEL.search(commands) or (_CLOCK.search(commands) if is_lasting else None)
    return found[0] if found else ""


class TestHost(Protocol):
    """Where a test runs."""

    def run(self, command: Sequence[str], *, user: str | None = None, seconds: float, typed: bool = False) -> Ended:
        """Run a command to its end; user: None for root."""

    def kill(self) -> None:
        """End all that runs there."""

    @property
    def has_ended(self) -> bool:
        """Return whether nothing can run there any longer."""


class Site(Protocol):
    """Makes places for tests, and sorts alerts by them."""

    folder: str
    """Where the files of the tests are, as they see it."""
    user: str | None
    """Whom tests run as that don't need root."""
    has_systemd: bool
    is_lasting: bool
    """True if what a test does stays, so that it has to be cleaned up."""

    def place(self, *, booted: bool) -> AbstractContextManager[TestHost]:
        """Return a place. booted: whether services run there. Raises NoGuest."""

    def expect(self, place: TestHost, command: str, /) -> Seen:
        """Start to collect what a command there causes."""

    def forget(self, seen: Seen) -> None:
        """Stop collecting."""


class Prover:
    """Runs tests on threads of their own."""

    def __init__(
        self,
        tests: Sequence[AtomicTest],
        site: Site,
        *,
        workers: int,
        on_result: Callable[[TestResult], None],
        seconds: float = DEFAULT_SECONDS,
    ) -> None:
        """Take what to run.

        Args:
            tests: the tests.
            site: where they run.
            workers: how many run at a time.
            on_result: called with each result, on the threads.
            seconds: how long the command of a test may run.
        """
        self.results: list[TestResult] = []
        self.problem = ""
        """Why no test ran."""
        self.running: dict[str, AtomicTest] = {}
        """The tests that run now, by GUID."""
        self._site, self._on_result, self._seconds = site, on_result, seconds
        self._given_up = threading.Event()
        self._lock = threading.Lock()
        self._turned = threading.Condition()
        self._evaluated_until = 0
        self._waiting: SimpleQueue[AtomicTest] = SimpleQueue()
        # The longest first, so that none runs alone at the end.
        for test in sorted(
            tests, key=lambda each: not (_SCHEDULED.search(each.command) or _TYPED.search(each.command))
        ):
            self._waiting.put(test)
        self._workers = workers
        self._thread = threading.Thread(target=self._run, name="prove", daemon=True)
        self._events_of_nothing: dict[bool, int] = {}
        self.baselines: list[GuestRun] = []
        """The runs of a command that does nothing."""
        self._places: set[TestHost] = set()

    def start(self) -> None:
        """Start the threads; call it once events arrive."""
        self._thread.start()

    def is_done(self, evaluated_until: int) -> bool:
        """Return whether all tests have ended; the pipeline asks in each turn.

        evaluated_until: boot-clock time up to which it has evaluated this machine's events, ns.
        """
        with self._turned:
            self._evaluated_until = evaluated_until
            self._turned.notify_all()
        return self._thread.ident is not None and not self._thread.is_alive()

    def give_up(self) -> None:
        """Start no further test, and end the running ones, which have no result then."""
        self._given_up.set()
        with self._turned:
            self._turned.notify_all()
        for place in tuple(self._places):
            place.kill()
        if self._thread.ident is not None:
            self._thread.join(self._seconds)

    def _run(self) -> None:
        kinds = (False, True) if self._site.has_systemd and not self._site.is_lasting else (False,)
        with ThreadPoolExecutor(len(kinds)) as both:
            self.problem = next(filter(None, both.map(self._measure_nothing, kinds)), "")
        if self.problem:
            return
        threads = [threading.Thread(target=self._work, name=f"prove-{n}", daemon=True) for n in range(self._workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _measure_nothing(self, booted: bool) -> str:  # noqa: FBT001  mapped
        """Count the events of a command that does nothing; return the problem if it raises an alert."""
        try:
            with self._place(booted=booted) as place:
                seen, _, _ = self._watched(place, "sh", "true", self._site.user)
        except (NoGuest, OSError) as error:
            return str(error)
        for kind in (True, False) if self._site.is_lasting else (booted,):
            self._events_of_nothing[kind] = seen.events
        self.baselines += [] if seen.run is None else [seen.run]
        rules = ", ".join(dict.fromkeys(alert.rule for alert in seen.alerts))
        return f"a command that does nothing raised an alert: {rules}" if rules else ""

    def _work(self) -> None:
        while not self._given_up.is_set():
            try:
                test = self._waiting.get_nowait()
            except Empty:
                return
            self.running[test.guid] = test
            try:
                result = self._one(test.filled(self._site.folder))
            except (NoGuest, OSError, ValueError) as error:
                # A command with a zero byte is a ValueError, one that is too long an OSError.
                result = TestResult(test, "not run", str(error))
            self.running.pop(test.guid, None)
            if self._given_up.is_set():
                return
            with self._lock:
                self.results.append(result)
                self._on_result(result)

    def _one(self, test: AtomicTest) -> TestResult:
        if test.problem or test.executor == "manual":
            return TestResult(test, "not run", test.problem or "its steps are for people")
        text = "\n".join((test.command, *(each.get for each in test.prerequisites)))
        if found := change_of_kernel(text, is_lasting=self._site.is_lasting):
            return TestResult(test, "not run", f"it would change this machine's kernel: {found}")
        if self._site.is_lasting and (ending := _RESTART.search(text)):
            return TestResult(test, "not run", f"it would end this machine: {ending[0]}")
        booted = self._site.has_systemd and _SERVICES.search(text) is not None
        user = None if test.as_root else self._site.user
        with self._place(booted=booted) as place:
            if booted and not self._site.is_lasting and _FIREWALL.search(text):
                # Who switches a firewall off had one that was on.
                place.run(["sh", "-c", _FIREWALL_ON], seconds=PREREQUISITE_SECONDS)
            for need in test.prerequisites:
                if problem := self._prepare(place, test, need):
                    return TestResult(test, "not run", problem)
            seen, ended, took = self._watched(place, test.executor, test.command, user, waits=booted)
            reason = "the guest ended with it" if place.has_ended else self._how(ended)
            if self._site.is_lasting and test.cleanup:
                place.run([test.executor, "-c", test.cleanup], user=user, seconds=PREREQUISITE_SECONDS)
        return graded(test, reason, seen, self._events_of_nothing.get(booted, 0), took)

    @contextmanager
    def _place(self, *, booted: bool) -> Iterator[TestHost]:
        with self._site.place(booted=booted) as place:
            self._places.add(place)
            try:
                if self._given_up.is_set():
                    raise NoGuest("given up")
                yield place
            finally:
                self._places.discard(place)

    def _watched(
        self, place: TestHost, shell: str, command: str, user: str | None, *, waits: bool = False
    ) -> tuple[Seen, Ended, float]:
        """Run a command; return what was seen of it, how it ended, and how many seconds it ran."""
        seen = self._site.expect(place, command)
        began = time.monotonic()
        try:
            typed = _TYPED.search(command) is not None
            ended = place.run([shell, "-c", command], user=user, seconds=self._seconds, typed=typed)
            took = time.monotonic() - began
            self._settle(seen, _awaited(command) if waits else 0.0)
        finally:
            self._site.forget(seen)
        return seen, ended, took

    def _prepare(self, place: TestHost, test: AtomicTest, need: Prerequisite) -> str:
        """Meet a prerequisite; return the problem, if any.

        What is missing is fetched by the test's user, who has to own it, or else by root, who may install it.
        """

        def run(command: str, user: str | None) -> bool:
            words = [test.executor, "-c", command]
            return not command or place.run(words, user=user, seconds=PREREQUISITE_SECONDS).code == 0

        users = (None,) if test.as_root else (self._site.user, None)
        if run(need.check, users[0]):
            return ""
        for user in users:
            run(need.get, user)
            if run(need.check, users[0]):
                return ""
        return f"prerequisite not met: {need.description.strip()}"

    def _settle(self, seen: Seen, longest: float) -> None:
        """Wait for the alerts of what has happened; up to `longest` seconds if there is none yet."""
        ended = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

        def is_evaluated() -> bool:
            return self._evaluated_until > ended or self._given_up.is_set()

        with self._turned:
            self._turned.wait_for(is_evaluated, SETTLE_SECONDS)
        deadline = time.monotonic() + longest
        while time.monotonic() < deadline and not seen.alerts:
            if self._given_up.wait(0.5):
                return

    def _how(self, ended: Ended) -> str:
        if ended.code is None:
            return f"stopped after {self._seconds:g} s"
        if ended.code == 0:
            return ""
        lines = ended.output.strip().splitlines()
        return f"exit code {ended.code}" + (f": {lines[-1][:_LAST_LINE]}" if lines else "")


def _awaited(command: str) -> float:
    """Return how long the alert of what a command schedules is awaited: cron and at start jobs when a minute begins."""
    if _TIMER.search(command):
        return TIMER_SECONDS
    return _MINUTE_SECONDS - time.time() % _MINUTE_SECONDS + _CRON_SECONDS if _SCHEDULED.search(command) else 0.0
