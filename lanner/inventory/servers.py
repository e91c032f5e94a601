"""Adds to alerts the packages of the server that their process descends from, while that server lives.

A shell below nginx came through nginx: which of its packages has a hole is the first question. Processes are read by
the look-up server, on a thread of its own, so that an alert waits, but not detection.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import Any

from collector.procfs.installed_packages import InstalledPackage
from collector.procfs.loaded_files import LoadedFile, is_network_facing
from collector.procfs.look_ups import LookUps
from foundation.caches import BoundedMap
from foundation.text import printable
from lanner.inventory.loaded import HOST, ReadProcess, RootPackages, owner_of_files
from schemas.alert import Alert, Value

SECONDS = 2.0
"""How long an alert waits, and how long a query may take."""
MAX_WAITING = 64
"""Alerts that wait; those beyond them are delivered as they are."""
MAX_LIBRARIES = 64
MAX_KNOWN = 256
KNOWN_SECONDS = 300.0
"""How long the packages of a server count as the same, unless it is another process."""
_MAX_LISTENING = 8
_LEVELS = range(2, 9)


@dataclass(slots=True)
class _Waiting:
    alert: Alert
    until: float
    fields: Mapping[str, Value] | None = None
    """None until they are looked up."""


class ServerPackages:
    """Alerts that wait for what is known of the servers that they came through. All but _run is for one thread.

    Args:
        look_ups: used and closed on the thread.
    """

    def __init__(self, look_ups: LookUps) -> None:
        self._look_ups = look_ups
        self._waiting: deque[_Waiting] = deque()
        self._questions: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._known: BoundedMap[tuple[int, int], tuple[float, Mapping[str, Value]]] = BoundedMap(MAX_KNOWN)
        self._thread = Thread(target=self._run, name="server-packages", daemon=True)
        self._thread.start()

    @property
    def is_waiting(self) -> bool:
        """True if poll() has alerts to return, now or later."""
        return bool(self._waiting)

    def take(self, alert: Alert, now: float) -> bool:
        """Look an alert up, which poll() then returns; return false if it needn't wait. now: monotonic s."""
        if not any(descent(alert)) or len(self._waiting) >= MAX_WAITING:
            return False
        one = _Waiting(alert, now + SECONDS)
        self._waiting.append(one)
        self._questions.put(one)
        return True

    def poll(self, now: float) -> list[Alert]:
        """Return the alerts that were looked up or have waited for long enough, in their order. now: monotonic s."""
        ready = []
        while self._waiting and (self._waiting[0].fields is not None or self._waiting[0].until <= now):
            one = self._waiting.popleft()
            ready.append(replace(one.alert, event={**one.alert.event, **(one.fields or {})}))
        return ready

    def close(self) -> list[Alert]:
        """End the thread after its current query; return the alerts that still wait."""
        self._questions.put(None)
        self._thread.join(timeout=SECONDS)
        return self.poll(float("inf"))

    def _run(self) -> None:
        while (one := self._questions.get()) is not None:
            found: Mapping[str, Value] = {}
            # A bug must not end the thread.
            with suppress(Exception):
                if time.monotonic() < one.until:
                    found = self._look(one.alert)
            one.fields = found
        self._look_ups.close()

    def _look(self, alert: Alert) -> Mapping[str, Value]:
        for pid, name in descent(alert):
            found = self._look_ups.loaded(pid)
            # Another name is likely another process: the event's has ended.
            if found and found.get("name") == name and any(map(is_network_facing, found["listening"])):
                return self._server(pid, found)
        return {}

    def _server(self, pid: int, found: Mapping[str, Any]) -> Mapping[str, Value]:
        key, now = (pid, int(found["start"])), time.monotonic()
        at, known = self._known.get(key) or (0.0, {})
        if known and now - at < KNOWN_SECONDS:
            return known
        files = tuple(LoadedFile(path, is_deleted) for path, is_deleted in found["files"])
        process = ReadProcess(pid, found["name"], found["uid"], HOST, "", files, tuple(found["listening"]))
        listed = self._look_ups.packages(pid if found["root"] else 0, [file.path for file in files])
        if listed is None:
            return server_fields(process, RootPackages())
        owners = {path: (manager, name) for path, (manager, name) in listed["owners"].items()}
        every = tuple(InstalledPackage(**each) for each in listed["installed"])
        fields = server_fields(process, RootPackages(every, owners))
        self._known.put(key, (now, fields))
        return fields


def descent(alert: Alert) -> Iterator[tuple[int, str]]:
    """Yield pid and name of an alert's process and of its ancestors, the nearest first, but not of the first process.

    That one listens for services which it starts (systemd's sockets), so it would be everybody's server.
    """
    names = [("proc.pid", "proc.name"), ("proc.ppid", "proc.pname")]
    names += [(f"proc.apid[{level}]", f"proc.aname[{level}]") for level in _LEVELS]
    for pid_field, name_field in names:
        pid, name = alert.event.get(pid_field), alert.event.get(name_field)
        if isinstance(pid, int) and pid > 1 and isinstance(name, str):
            yield pid, name


def server_fields(process: ReadProcess, known: RootPackages) -> dict[str, Value]:
    """Return what an alert states of a server: its name, pid and addresses, its package, and its libraries' packages.

    The first of its files is its program.
    """
    owner = owner_of_files(known)
    program, *others = [owner(file) for file in process.files] or [None]
    fields: dict[str, Value] = {
        "proc.server.name": printable(process.name),
        "proc.server.pid": process.pid,
        "proc.server.listening": process.listening[:_MAX_LISTENING],
    }
    if program is not None:
        fields["proc.server.package"] = printable(program.name)
        fields["proc.server.package.version"] = printable(program.version)
    libraries = dict.fromkeys(each for each in others if each is not None and each != program)
    if libraries:
        texts = (f"{printable(each.name)} {printable(each.version)}" for each in libraries)
        fields["proc.server.libraries"] = tuple(islice(texts, MAX_LIBRARIES))
    return fields
