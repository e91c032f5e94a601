"""Which processes listen where other machines may reach them, and of which packages they are.

A shell below nginx came through nginx: which of its packages has a hole is the first question. Processes are read by a
look-up server, on a thread of its own, so that nothing waits for them: batches have what was found last.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from threading import Event, Thread
from typing import Any

from collector.processes.process import TICK, TrackedProcess
from collector.procfs.installed_packages import InstalledPackage, owner_of_files
from collector.procfs.loaded_files import LoadedFile
from collector.procfs.look_ups import LookUps
from schemas.batch import NetworkServer
from schemas.encoding.limits import MAX_LIBRARIES, MAX_LISTENING
from schemas.limits import clipped

SECONDS = 10.0
"""How long a query may take."""
EVERY_SECONDS = 60.0
"""How often all processes are looked at; a call of listen that is seen hastens that."""
REST_SECONDS = 2.0
SHARE = 0.05
"""Least time between two looks, and the share of a processor that their reading may take."""
KNOWN_SECONDS = 300.0
"""How long the packages of a server count as the same, unless it is another process or listens elsewhere."""
MAX_SERVERS = 256
_MAX_TEXT = 200
"""Bytes of a name with its version; longer ones are cut."""
TYPES = {"dpkg": "deb", "apk": "apk", "rpm": "rpm"}
"""Types of packages, by what manages them."""

_Key = tuple[int, int]
"""Process id and start, in ticks."""
_Named = tuple[str, NetworkServer]
"""A process's name and what listens in it."""


class KnownServers:
    """The servers of this host. All but `_run`, and what that calls, is for one thread.

    Args:
        look_ups: used and closed on a thread of its own.
    """

    def __init__(self, look_ups: LookUps) -> None:
        self.version = 0
        """Increases whenever something else is known."""
        self._look_ups = look_ups
        self._known: Mapping[_Key, _Named] = {}
        """By process, its name and what it is; replaced as a whole."""
        self._read_at: dict[_Key, float] = {}
        self._left_out = 0
        self._hasten, self._end = Event(), Event()
        self._thread = Thread(target=self._run, name="servers", daemon=True)
        self._thread.start()

    @property
    def given_up(self) -> int:
        """Queries that took too long, and looks at which servers beyond the limit were left out."""
        return self._look_ups.given_up + self._left_out

    def close(self) -> None:
        """End the thread after its current query."""
        self._end.set()
        self._hasten.set()
        self._thread.join(timeout=1.0)

    def listened(self) -> None:
        """Look soon: a process has begun to listen."""
        self._hasten.set()

    def server(self, entry: TrackedProcess) -> NetworkServer | None:
        """Return what is known of a process as a server; None if it isn't known to listen."""
        name, server = self._known.get((entry.pid, entry.start_time // TICK), (None, None))
        # Another name is another program.
        return server if name == entry.program.name else None

    def _run(self) -> None:
        while not self._end.is_set():
            self._hasten.clear()
            before = self._look_ups.processor_seconds
            # A bug must not end the thread.
            with suppress(Exception):
                found = self._look(time.monotonic())
                if found is not None and found != self._known:
                    self._known = found
                    self.version += 1
            # Not the time that a look waits: on a busy host, the next one would come too late.
            after = self._look_ups.processor_seconds
            took = after - before if after >= before else after
            if not self._end.wait(max(REST_SECONDS, took / SHARE)):
                self._hasten.wait(EVERY_SECONDS)
        self._look_ups.close()

    def _look(self, now: float) -> Mapping[_Key, _Named] | None:
        """Return the servers as they are now; None if the look was abandoned."""
        listening = self._look_ups.listening()
        if listening is None:
            return None
        self._left_out += len(listening) > MAX_SERVERS
        found: dict[_Key, _Named] = {}
        new: dict[tuple[int, ...], list[Mapping[str, Any]]] = {}
        for pid, start, name, addresses in listening[:MAX_SERVERS]:
            key = pid, start
            known = self._known.get(key)
            is_same = known is not None and known[0] == name and known[1].listening == _addresses(addresses)
            if known is not None and is_same and now - self._read_at[key] < KNOWN_SECONDS:
                found[key] = known
                continue
            found[key] = name, NetworkServer(_addresses(addresses))
            read = self._look_ups.loaded(pid)
            if read and read.get("start") == start:
                new.setdefault(tuple(read["root"]), []).append({**read, "pid": pid})
            self._read_at[key] = now
        for root, processes in new.items():
            self._add_packages(root, processes, found)
        self._read_at = {key: at for key, at in self._read_at.items() if key in found}
        return found

    def _add_packages(
        self, root: tuple[int, ...], processes: Iterable[Mapping[str, Any]], found: dict[_Key, _Named]
    ) -> None:
        """Add the packages of processes with the same root directory."""
        every = [*processes]
        paths = dict.fromkeys(path for each in every for path, _ in each["files"])
        listed = self._look_ups.packages(every[-1]["pid"] if root else 0, [*paths])
        if listed is None:
            return
        owners = {path: (manager, name) for path, (manager, name) in listed["owners"].items()}
        owner = owner_of_files((InstalledPackage(**each) for each in listed["installed"]), owners)
        for each in every:
            key = each["pid"], each["start"]
            name, server = found[key]
            files = [owner(LoadedFile(path, is_deleted)) for path, is_deleted in each["files"]]
            found[key] = name, with_packages(server, files)


def with_packages(server: NetworkServer, owners: Iterable[InstalledPackage | None]) -> NetworkServer:
    """Return a server with the package of its program, the first of its files, and those of its other files.

    owners: the package of each file; None for one that no package lists.
    """
    program, *others = [*owners] or [None]
    libraries = dict.fromkeys(each for each in others if each is not None and each != program)
    texts = (clipped(f"{each.name} {each.version}", _MAX_TEXT) for each in libraries)
    found = replace(server, libraries=tuple(islice(texts, MAX_LIBRARIES)))
    if program is None:
        return found
    name, version = clipped(program.name, _MAX_TEXT), clipped(program.version, _MAX_TEXT)
    return replace(found, package=name, package_version=version, package_type=TYPES[program.manager])


def _addresses(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice(found, MAX_LISTENING))
