"""What the files of programs are: looked up once for each file, by a thread that never blocks the collector.

A file counts as the same while device, inode and times are the same: the kernel sets the last change of an inode, which
nobody but root can set back. Results outlive the collector.
"""

import json
import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Protocol

from collector.processes.container_names import UNKNOWN
from collector.processes.process import FileKey, LocatedFile, TrackedProcess
from collector.processes.relatives import ancestors
from collector.procfs.foreign_files import Attributes, cached_stat, closing, open_below, open_made_by_root, path_below
from collector.records.types import Syscall
from foundation.caches import BoundedMap
from foundation.files import UntrustedFile, read_trusted, write_atomically
from schemas.batch import ProgramFile, file_text

Key = FileKey

MAX_KNOWN = 2048
MAX_WRITERS = 4096
MAX_EARLIER = 512
MAX_IN_FLIGHT = 64
"""Queries that wait; a program beyond them is unknown until it runs again."""
MAX_PIDS = 4
BURST, SHARE = 2.0, 0.1
"""Budget in processor seconds: at once, and regained per second."""
BYTES_PER_SECOND = 256 << 20
"""Bytes that count as a processor second, however fast they are read."""
EARLY_SECONDS = 30.0
"""How long a result counts that was found while a package manager was at work, or by a query that failed."""
SECONDS_EACH = 60.0
"""How much longer a query that was abandoned isn't repeated, for each second that it took: 10 minutes in all."""
SAVE_SECONDS = 60.0
CLOCK_SLACK = 20_000_000
"""Nanoseconds by which a file may seem newer than the start that it precedes: the kernel's clock for files ticks."""
_MAX_STORED = 4 << 20
_FOREVER = float("inf")
OUTCOMES = ("package", "modified", "image", "dropped", "memory", "unknown", "abandoned")
"""How a look-up ends: an origin, or abandoned because it took too long."""
_UNKNOWN = ProgramFile(origin="unknown")
_INSTALLERS = frozenset({"/usr/bin/dpkg", "/usr/bin/rpm", "/usr/sbin/apk", "/sbin/apk"})
"""Programs that write files of packages; only root of the host can put another program there."""


_Place = tuple[int, int, str, str | None, int | None]
"""Device, inode, path, container and mount namespace of a file of code."""

_Writer = tuple[str | None, str | None, int, bool]
"""Name and user of the process, when it opened the file, ns since the epoch, and whether it installs packages."""


class ProgramLookUp(Protocol):
    """Looks programs up in another process."""

    def program(self, question: dict[str, Any]) -> Any:
        """Return the response to a query; None if it was abandoned."""

    def close(self) -> None:
        """End that process."""


@dataclass(slots=True, eq=False)
class _Known:
    home: "KnownPrograms"
    """Whose it is: programs refer to it for longer than that."""
    key: Key
    file: ProgramFile
    is_pending: bool = False
    until: float = _FOREVER
    """When it is looked up again, monotonic s."""
    asked: tuple[str, bool] | None = None
    """The container through which it was looked up, and whether its layer was known; None outside of containers."""


def _none(_: TrackedProcess) -> None:
    """Return no process."""


class KnownPrograms:
    """What is known of the files of programs. Everything but `look_ups` runs on the caller's thread.

    Args:
        look_ups: used on a thread of its own.
        store: the file in which results survive a restart.
        first_in_container: returns the living first process of a process's container: a program of a health check has
            ended before its file is looked up.
    """

    def __init__(
        self,
        look_ups: ProgramLookUp,
        store: Path,
        first_in_container: Callable[[TrackedProcess], TrackedProcess | None] = _none,
    ) -> None:
        self.version = 0
        """Increases whenever more becomes known."""
        self.has_opened = False
        """True if files of code are to be looked up that privileged programs open or map."""
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        """Look-ups that have ended, by outcome."""
        self._look_ups = look_ups
        self._store = store
        self._first = first_in_container
        self._known: BoundedMap[Key, _Known] = BoundedMap(MAX_KNOWN)
        self._writers: BoundedMap[tuple[int, int], _Writer] = BoundedMap(MAX_WRITERS)
        self._questions: SimpleQueue[tuple[Key, dict[str, Any]] | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Key, dict[str, Any] | None, float]] = SimpleQueue()
        self._in_flight = 0
        self._located: dict[_Place, LocatedFile] = {}
        """Files of code that were found in this turn."""
        self._earlier: BoundedMap[_Place, LocatedFile] = BoundedMap(MAX_EARLIER)
        """Those of earlier turns, which may have changed since."""
        self._stored = _read(store)
        for key, file in self._stored.items():
            self._known.put(key, _Known(self, key, file))
        self._thread = Thread(target=self._run, name="programs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread after its current query, and store the results."""
        self._questions.put(None)
        self._thread.join(timeout=1.0)

    @staticmethod
    def key(entry: TrackedProcess) -> Key | None:
        """Return the key of a process's program; None if its file is unknown."""
        program = entry.program
        device, inode, ctime, mtime = program.exe_dev, program.exe_ino, program.exe_ctime, program.exe_mtime
        if device is None or inode is None or ctime is None or mtime is None:
            return None
        return device, inode, ctime, mtime, entry.container is None

    def started(self, entry: TrackedProcess) -> None:
        """Begin to look up a program that starts, and its script: either may delete its file before its first event."""
        key = self.key(entry)
        known = None if key is None else self._known.get(key)
        if known is not None and _may_find_more(known, entry):
            known.is_pending, known.until = True, 0.0
        self.is_pending(key, entry)
        script = entry.program.script
        at = entry.exec_time or 0
        entry.script_file = None if script is None else _located(entry, self._first(entry), script, at)
        self.is_pending(self.script_key(entry), entry, entry.script_file)

    @staticmethod
    def script_key(entry: TrackedProcess) -> Key | None:
        """Return the key of a process's script; None if it runs none, or its file is unknown."""
        return None if entry.script_file is None else entry.script_file.key

    def opened(self, call: Syscall, entry: TrackedProcess) -> LocatedFile | None:
        """Return the file of code that a call loads, to be looked up; None if its process isn't privileged."""
        file, credentials = call.file, entry.credentials
        if file is None or not (credentials.uid == 0 or credentials.cap_effective):
            return None
        if file.path is None or file.is_pseudo or not stat.S_ISREG(file.mode):
            return None
        inode = 0 if file.is_upper_layer or file.is_lower_layer else file.ino
        at = call.who.time + entry.start_epoch - entry.start_time
        # Who isn't root may have chosen another root directory.
        if not inode or credentials.uid != 0:
            return _located(entry, self._first(entry), file.path, at, inode=inode)
        container = None if entry.container is None else entry.container.key
        same = file.dev, inode, file.path, container, entry.context.mount_namespace
        found = self._located.get(same)
        if found is None:
            earlier = self._earlier.get(same)
            found = _located(entry, self._first(entry), file.path, at, inode=inode, earlier=earlier)
            if found is None:
                return None
            self._located[same] = found
            if found is not earlier:
                self._earlier.put(same, found)
        return None if found.ctime > at + CLOCK_SLACK else found

    def begin_turn(self) -> None:
        """Look each file up again from now on: call it once the records are read whose calls opened() is called with.

        Many programs that start at about the same time map the same libraries. What one of these records led to can't
        be older than any of them.
        """
        if self._located:
            self._located.clear()

    def opened_text(self, file: LocatedFile) -> str:
        """Return what is known so far of the file that a call opened or mapped, as batches have it."""
        return file_text(self._certain(file))

    def is_settled(self, entry: TrackedProcess) -> bool:
        """Return whether no event of a process has to wait: its program is known, and it runs no script."""
        known = self._of(entry)
        return known is not None and not known.is_pending and known.until == _FOREVER and entry.script_file is None

    def is_pending(self, key: Key | None, entry: TrackedProcess, file: LocatedFile | None = None) -> bool:
        """Return whether a program, or another file, is still looked up for the first time; begin if it is new."""
        if key is None:
            return False
        known = self._known.get(key)
        if known is None:
            # So much is known without the file, which its process may take with it before it is looked up.
            in_memory = file is None and entry.program.is_from_memfd
            known = _Known(self, key, ProgramFile(origin="memory") if in_memory else _UNKNOWN, is_pending=True)
        elif known.until == _FOREVER or time.monotonic() < known.until:
            return known.is_pending
        if self._in_flight >= MAX_IN_FLIGHT:
            return False
        known.until, known.asked = _FOREVER, _asked(entry)
        self._known.put(key, known)
        self._in_flight += 1
        self._questions.put((key, _question(entry, key, file, _pids(entry, self._first(entry)))))
        return known.is_pending

    def file(self, entry: TrackedProcess) -> ProgramFile | None:
        """Return what is known of a process's program so far."""
        known = self._of(entry)
        return self._file(self.key(entry)) if known is None else self._written(known.key, known.file)

    def _of(self, entry: TrackedProcess) -> _Known | None:
        """Return what is known of a process's program; its program refers to it from then on."""
        known: _Known | None = entry.program.known
        if known is None or known.home is not self or known.key[-1] is not (entry.container is None):
            key = self.key(entry)
            known = None if key is None else self._known.get(key)
            if known is not None:
                entry.program.known = known
        return known

    def script(self, entry: TrackedProcess) -> ProgramFile | None:
        """Return what is known of the script that it runs so far; None if it runs none, or started earlier."""
        path, found = entry.program.script, entry.script_file
        if path is None:
            return None
        return replace(_UNKNOWN if found is None else self._certain(found), path=path)

    def _certain(self, file: LocatedFile) -> ProgramFile:
        known = self._file(file.key) or _UNKNOWN
        # The link may have been made after the start, by the script itself.
        return _UNKNOWN if not file.is_certain and known.origin in {"package", "image"} else known

    def _file(self, key: Key | None) -> ProgramFile | None:
        if key is None:
            return None
        known = self._known.get(key)
        return self._written(key, None if known is None else known.file)

    def _written(self, key: Key, file: ProgramFile | None) -> ProgramFile | None:
        """Return what is known of a file with who wrote it, which nobody did whose files come with packages."""
        if file is not None and file.origin in {"package", "image"}:
            return file
        writer = self._writers.get(key[:2])
        if writer is None:
            return file
        name, user, at, is_installer = writer
        file = file or _UNKNOWN
        # It may be gone before it is looked up, or too many wait for that, but it was made on this host.
        origin = "dropped" if file.origin == "unknown" and not is_installer else file.origin
        return replace(file, origin=origin, written_by=name, written_by_user=user, written_at=at)

    def poll(self) -> list[Key]:
        """Take in responses; return the programs that are no longer pending."""
        if not self._in_flight:
            return []
        settled = []
        while not self._answers.empty():
            key, answer, seconds = self._answers.get()
            self._in_flight -= 1
            known = self._known.get(key)
            if known is None:
                continue
            if known.is_pending:
                settled.append(key)
            known.is_pending = False
            self.outcomes["abandoned" if answer is None else answer["origin"]] += 1
            if answer is None or answer.get("is_early"):
                waits = EARLY_SECONDS if answer is not None else EARLY_SECONDS + seconds * SECONDS_EACH
                known.until = time.monotonic() + waits
            if answer is not None:
                known.file = _file(answer)
                self.version += 1
        return settled

    def writer(self, device: int, entry: TrackedProcess, user: str | None) -> Callable[[int, int], None]:
        """Return a function that remembers who opened a file for writing last.

        It gets the number of the file's inode, and the time, nanoseconds since the epoch.

        Args:
            device: the file's.
            entry: the process.
            user: its user.
        """
        name, put = entry.program.name, self._writers.put
        is_installer = entry.container is None and entry.program.exepath in _INSTALLERS and entry.credentials.uid == 0
        return lambda inode, at: put((device, inode), (name, user, at, is_installer))

    def _run(self) -> None:
        credit, at = BURST, time.monotonic()
        save_at: float | None = None
        while True:
            try:
                asked = self._questions.get(timeout=None if save_at is None else max(0.0, save_at - time.monotonic()))
            except Empty:
                save_at = None
                self._save()
                continue
            if asked is None:
                break
            key, question = asked
            # A bug must not end the thread.
            answer, begin = None, time.monotonic()
            with suppress(Exception):
                answer = self._look_ups.program(question)
            now = time.monotonic()
            self._answers.put((key, answer, now - begin))
            if answer is not None and not answer.get("is_early") and "sha256" in answer:
                self._stored[key] = _file(answer)
                save_at = save_at or time.monotonic() + SAVE_SECONDS
            credit = min(BURST, credit + (now - at) * SHARE) - _cost(answer, now - begin)
            at = now
            if credit < 0:
                time.sleep(-credit / SHARE)
        if save_at is not None:
            self._save()
        self._look_ups.close()

    def _save(self) -> None:
        while len(self._stored) > MAX_KNOWN:
            del self._stored[next(iter(self._stored))]
        rows = [
            [*key, {name: text for name, text in asdict(file).items() if text}] for key, file in self._stored.items()
        ]
        # Without it, programs are looked up again.
        with suppress(OSError):
            write_atomically(self._store, [json.dumps({"programs": rows}).encode()], is_shared=True)


def _cost(answer: Mapping[str, Any] | None, elapsed: float) -> float:
    """Return what a query counts for, in processor seconds: all that elapsed if nobody knows what it did."""
    return elapsed if answer is None else max(answer["seconds"], answer["bytes"] / BYTES_PER_SECOND)


def _file(answer: Mapping[str, Any]) -> ProgramFile:
    stated = ("sha256", "origin", "package", "package_version", "package_type")
    return ProgramFile(**{name: answer.get(name) for name in stated})


def _read(store: Path) -> dict[Key, ProgramFile]:
    """Return the results of earlier runs; none if others than root can have written them."""
    with suppress(UntrustedFile, OSError, ValueError, TypeError, LookupError, AttributeError):
        rows = json.loads(read_trusted(store, _MAX_STORED))["programs"][-MAX_KNOWN:]
        return {(int(d), int(i), int(c), int(m), bool(h)): _file(found) for d, i, c, m, h, found in rows}
    return {}


def _located(
    entry: TrackedProcess,
    first: TrackedProcess | None,
    path: str,
    at: int,
    *,
    inode: int = 0,
    earlier: LocatedFile | None = None,
) -> LocatedFile | None:
    """Return the file at a path, without waiting for a file system.

    Every process can have its paths lead elsewhere a moment later, so they are looked up at once.

    Args:
        entry: the process.
        first: the first process of its container.
        path: the path, as the process has it.
        at: when it was used, epoch ns; a file that was changed later is none.
        inode: the number of the file's inode; 0 if it is unknown.
        earlier: what was found at that path before.
    """
    for pid in _pids(entry, first):
        with (
            suppress(OSError),
            closing(os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)) as root,
            closing(open_below(root, path, is_cached=True)) as file,
        ):
            found = cached_stat(file)
            if inode not in {0, found.inode}:
                continue
            if not found.is_regular or found.ctime > at + CLOCK_SLACK:
                return None
            device = os.major(found.device) << 20 | os.minor(found.device)
            key = device, found.inode, found.ctime, found.mtime, entry.container is None
            if earlier is not None and earlier.key == key and earlier.path == path:
                return earlier
            resolved = path_below(root, file)
            return LocatedFile(key, resolved, path == resolved or _is_made_by_root(path, pid, found))
    return None


def _is_made_by_root(path: str, pid: int, found: Attributes) -> bool:
    with suppress(OSError), closing(open_made_by_root(path, f"/proc/{pid}/root", is_cached=True)) as file:
        return cached_stat(file) == found
    return False


def _pids(entry: TrackedProcess, first: TrackedProcess | None) -> list[int]:
    """Return pids through which files can be reached: its own, then living relatives with the same mounts.

    The last one is the container's first process, if that has the same mounts: it is the least likely to have changed
    its root directory.
    """
    container, namespace = entry.container, entry.context.mount_namespace
    pids = [entry.pid]
    for each in ancestors(entry):
        if each.container != container:
            break
        if each.exited_at is None and each.context.mount_namespace == namespace:
            pids[1:] = [*pids[1:], each.pid][-MAX_PIDS:]
    if container is not None and first is not None and first.context.mount_namespace == namespace:
        pids = [*(pid for pid in pids if pid != first.pid), first.pid]
    return pids


def _asked(entry: TrackedProcess) -> tuple[str, bool] | None:
    program, container = entry.program, entry.container
    return None if container is None else (container.key, bool(program.is_lower_layer or program.is_upper_layer))


def _may_find_more(known: _Known, entry: TrackedProcess) -> bool:
    """Return whether another look-up of a container's program may find what an earlier one could not.

    That one's process may have ended before, or it started before this collector, so that its layer was unknown. It may
    have been of another container: those of one image have what looks like the same file, if the second one's overlay
    gets the number that the first one's device had.
    """
    is_vague = known.file.sha256 is None or known.file.origin == "unknown"
    is_over = not known.is_pending and known.until == _FOREVER
    return is_vague and is_over and entry.container is not None and known.asked != _asked(entry)


def _question(entry: TrackedProcess, key: Key, file: LocatedFile | None, pids: list[int]) -> dict[str, Any]:
    """Return a query about a process's program, or another file, as ProgramQuery has it."""
    program, container = entry.program, entry.container
    device, inode, ctime, mtime, is_host = key
    is_script = file is not None
    return {
        "pids": pids,
        "path": (program.exepath or "") if file is None else file.path,
        "device": device,
        "inode": inode,
        "ctime": ctime,
        "mtime": mtime,
        "is_lower_layer": not is_script and bool(program.is_lower_layer),
        "is_upper_layer": not is_script and bool(program.is_upper_layer),
        # Anyone can isolate a process; only root, or a runtime that it started, makes a container with a name.
        "is_contained": container is not None and container.is_certain and container.type != UNKNOWN,
        "is_host": is_host,
        "is_from_memfd": not is_script and bool(program.is_from_memfd),
        "is_running": not program.is_start_seen,
        "is_script": is_script,
    }
