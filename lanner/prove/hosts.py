"""Where tests run: in guests, or one at a time on this host, if it can be lost.

An alert belongs to the test in whose guest's process id namespace its process is; so do those of cron, at and systemd
in the guest, which no ancestry connects with the test.

On this host, an alert belongs to a test by ancestry: its process descends from the test's, or is in the test's cgroup,
which a process inherits even if its parent has ended. What cron, at or systemd starts belongs to a test by the unit or
the script that the test made, never by its time alone.
"""

import os
import pwd
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from collector.host import boot_to_epoch
from lanner.prove.grades import GuestRun, Seen, raised_alert
from lanner.prove.guest import ATOMICS, CGROUPS, USER, Ended, Guest, make_cgroups, remove_cgroup, run_command
from lanner.prove.run import TestHost
from notifier.sink import Delivered, RoutedAlert, SendOutcome, Sink
from schemas.alert import Alert, Value
from schemas.batch import EventBatch, Process

if TYPE_CHECKING:
    from lanner.prove.sinkhole import Sinkhole

NAMESPACE_START = "proc.pidns_init_start_ts"
"""The field by which guests differ: when the first process of the process's pid namespace started."""
_TICK = 10_000_000
_TOLERANCE = 1
_APART_SECONDS = 0.12
_UNITS = ("/etc/systemd", "/run/systemd", "/usr/lib/systemd", "/usr/local/lib/systemd")
_JOBS = ("/etc/crontab", "/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/var/spool/cron", "/var/spool/at")
"""Where units and scheduled jobs are."""
_UNIT = re.compile(r"/([^/;]+?)(?:@[^/;]*)?\.(?:service|scope)(?=[/;]|$)")
_TRANSIENT = "run-"
"""The beginning of the names that systemd-run gives. Source: systemd-run(1)."""
_SCHEDULERS = frozenset({"cron", "crond", "atd", "anacron"})
_SHELL = re.compile(r"^\S*sh -c ")
_SHORTEST = 6
"""Characters of a command or file name by which a script is recognized."""
_LEVELS = range(2, 9)
_MAX_FILES, _MAX_BYTES = 5000, 64 * 1024


class GuestBoard(Sink):
    """Sorts alerts and events by guest."""

    def __init__(self, boot: int | None = None) -> None:
        """Take when the machine started, ns since the epoch, if it isn't this one that runs."""
        self._lock = threading.Lock()
        self._guests: dict[int, tuple[GuestRun, Seen]] = {}
        self.boot = boot_to_epoch() if boot is None else boot
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


@dataclass(frozen=True, slots=True)
class Marks:
    """By what a test's processes are known."""

    cgroup: str
    """The name of its cgroup."""
    roots: frozenset[int]
    """Pids of the processes from which its own descend; theirs are not the test's."""
    units: frozenset[str]
    """Names of the units that it made, without type and instance."""
    script: str
    """Its command, and the jobs that it made."""


def belongs(event: Mapping[str, Value], marks: Marks) -> bool:
    """Return whether the process of an alert's event is a test's."""
    if event.get("proc.pid") in marks.roots:
        return False
    cgroups = str(event.get("thread.cgroups", ""))
    if marks.cgroup in cgroups:
        return True
    if not marks.roots.isdisjoint(event.get(name) for name in ("proc.ppid", *(f"proc.apid[{n}]" for n in _LEVELS))):
        return True
    units = set(_UNIT.findall(cgroups))
    if not marks.units.isdisjoint(units):
        return True
    names = {event.get(name) for name in ("proc.pname", *(f"proc.aname[{n}]" for n in _LEVELS))}
    if _SCHEDULERS.isdisjoint(names) and not any(each.startswith(_TRANSIENT) for each in units):
        return False
    lines = ("proc.cmdline", "proc.pcmdline", *(f"proc.acmdline[{n}]" for n in _LEVELS), "fd.name", "fs.path.name")
    texts = (_SHELL.sub("", str(event.get(name, ""))).strip() for name in lines)
    return any(len(text) >= _SHORTEST and text in marks.script for text in texts)


class ThisHost(Sink):
    """Runs tests on this host."""

    has_systemd = True
    is_lasting = True

    def __init__(self, atomics: Path) -> None:
        """Take the folder of the tests."""
        self.folder = str(atomics.resolve())
        self.user: str | None = os.environ.get("SUDO_USER") or "nobody"
        self.board = self
        """The sink that gets the alerts of this machine."""
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._seen: Seen | None = None
        self._since = 0

    @contextmanager
    def place(self, *, booted: bool) -> Iterator[TestHost]:  # noqa: ARG002  its services run
        """Return this host; what a test left running there ends with it."""
        running = _Running()
        try:
            yield running
        finally:
            running.close()

    def expect(self, place: TestHost, command: str) -> Seen:
        """Start to collect what a command causes."""
        running, seen = place, Seen()
        if not isinstance(running, _Running):
            raise TypeError("not this host")
        running.watch(command)
        with self._lock:
            self._running, self._seen, self._since = running, seen, time.time_ns()
        return seen

    def forget(self, seen: Seen) -> None:  # noqa: ARG002  there is one at a time
        """Stop collecting."""
        with self._lock:
            self._running = self._seen = None

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Take alerts; those of no test are left out."""
        with self._lock:
            for routed in alerts:
                alert = routed.alert
                if self._running is None or self._seen is None or alert.time < self._since:
                    continue
                if belongs(alert.event, self._running.marks()):
                    self._seen.alerts.append(raised_alert(alert, (time.time_ns() - alert.time) / 1e9))
        return Delivered()

    def count(self, batch: EventBatch) -> None:
        """Count a batch's events of a test's descendants."""
        with self._lock:
            if self._running is None or self._seen is None:
                return
            own = self._running.own(batch.processes)
            for row, at in zip(batch.columns["process"], batch.columns["time"], strict=True):
                if row >= 0 and own[row] and at >= self._since:
                    self._seen.events += 1


class _Running:
    """One test on this host."""

    def __init__(self) -> None:
        self._name = f"lanner-prove-{os.getpid()}-{time.monotonic_ns()}"
        self._cgroups = make_cgroups(self._name)
        self._roots: set[int] = set()
        self._before: Mapping[str, tuple[int, int]] = {}
        self._command = ""
        self._made: dict[str, str] = {}
        self.has_ended = False

    def run(self, command: Sequence[str], *, user: str | None = None, seconds: float, typed: bool = False) -> Ended:
        """Run a command to its end."""
        account = pwd.getpwnam(user or "root")
        home = account.pw_dir if Path(account.pw_dir).is_dir() else "/"
        # Its first process only waits, so that what happens before the command isn't the test's.
        enter = ("setsid", "--fork", "--wait", "env", "-C", home)
        return run_command(
            *(command, enter, self._cgroups, self._roots.add),
            user=user,
            group=str(account.pw_gid),
            home=home,
            seconds=seconds,
            typed=typed,
        )

    def watch(self, command: str) -> None:
        """Remember the units and jobs of now, and what the test's script is."""
        self._before, self._command = dict(_files()), command

    def marks(self) -> Marks:
        """Return by what its processes are known now."""
        for path, state in _files():
            if self._before.get(path) != state and path not in self._made:
                with suppress(OSError), Path(path).open("rb") as file:
                    self._made[path] = file.read(_MAX_BYTES).decode(errors="replace")
        units = {_unit(Path(path)) for path in self._made if path.startswith(_UNITS) or "/systemd/user/" in path}
        script = "\n".join((self._command, *self._made, *self._made.values()))
        return Marks(self._name, frozenset(self._roots), frozenset(units - {""}), script)

    def own(self, processes: Sequence[Process]) -> list[bool]:
        """Return of each row of processes whether it is the test's by ancestry."""
        found: list[bool] = []
        for each in processes:
            below = each.parent >= 0 and (found[each.parent] or processes[each.parent].pid in self._roots)
            found.append(each.pid not in self._roots and (below or self._name in (each.cgroup or "")))
        return found

    def kill(self) -> None:
        """Kill all processes in its cgroups."""
        for cgroup in self._cgroups:
            with suppress(OSError):
                for pid in (cgroup / "cgroup.procs").read_text().split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)

    def close(self) -> None:
        """Kill what is left, and remove the cgroups."""
        self.kill()
        for cgroup in self._cgroups:
            remove_cgroup(cgroup)


def _unit(path: Path) -> str:
    """Return the name of a file's unit, without type and instance. Source: systemd.unit(5)."""
    folder = path.parent.name.removesuffix(".d")
    name = folder if path.suffix == ".conf" and "." in folder else path.name
    return name.rpartition(".")[0].partition("@")[0]


def _files() -> Iterable[tuple[str, tuple[int, int]]]:
    """Yield the files of units and jobs, each with its inode and the time of its last change."""
    left = _MAX_FILES
    homes = (f"{each.pw_dir}/.config/systemd/user" for each in pwd.getpwall())
    for top in dict.fromkeys((*_UNITS, *_JOBS, *homes)):
        for path in (top,) if Path(top).is_file() else _below(top):
            with suppress(OSError):
                state = os.lstat(path)
                yield path, (state.st_ino, state.st_ctime_ns)
                left -= 1
            if not left:
                return


def _below(top: str) -> Iterator[str]:
    for folder, _, names in os.walk(top):
        yield from (os.path.join(folder, name) for name in names)  # noqa: PTH118  much faster than Path
