"""What an action by hand on this host would hit: identifies targets by procfs and the containers' runtimes.

A process is identified by its start time as well, so that another one with its number is never hit instead.
"""

import pwd
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from collector.containers.lookup import KnownContainers
from collector.containers.protocol import ContainerRuntime
from collector.processes.container_names import ContainerName, Naming
from collector.processes.files import ProcessFiles
from collector.processes.parts import ProcessFacts
from collector.processes.process import TICK
from foundation.text import count_of, printable
from lanner.actions.deciding import DecisionRefused
from schemas.action import ActionIntent
from schemas.batch import Container

_SECONDS_FOR_CONTAINERS = 5.0


@dataclass(frozen=True, slots=True)
class LocalTarget:
    """A target on this host."""

    intent: ActionIntent
    program: str = ""
    """Path of the program that it runs; empty if it is none or unknown."""
    hits: tuple[str, ...] = ()
    """What else the action is about, for people; it may contain what an attacker wrote."""


class LocalTargets:
    """The processes of this host, read once.

    Args:
        naming: recognizes containers by their cgroups.
        runtimes: describe containers, in the order in which they are queried.
        boot_to_epoch: the wall clock minus the boot clock, ns.
        files: reads procfs.
    """

    def __init__(
        self,
        naming: Naming,
        runtimes: Sequence[ContainerRuntime],
        boot_to_epoch: int,
        files: ProcessFiles | None = None,
    ) -> None:
        self._files = files or ProcessFiles()
        self._naming = naming
        self._runtimes = runtimes
        self._boot_to_epoch = boot_to_epoch

    def process(self, intent: ActionIntent, pid: int) -> LocalTarget:
        """Identify a process, or the session that it leads. Raises DecisionRefused if there is none."""
        facts = self._files.read(pid)
        if facts is None:
            raise DecisionRefused(f"no process of this host has the id {pid}")
        if intent.target == "session" and facts.context.sid != pid:
            raise DecisionRefused(f"process {pid} leads no session; its session's leader is {facts.context.sid}")
        name = self._container(pid)
        begun = facts.start_ticks * TICK + self._boot_to_epoch
        made = replace(
            intent,
            text=f"{intent.target} {pid} ({facts.program.name})",
            pid=pid,
            start_time=begun,
            container_id="" if name is None else name.full_id,
        )
        every = [*self._files.read_all()]
        if intent.target == "session":
            hit = [each for each in every if each.context.sid == pid]
            return LocalTarget(made, facts.program.exepath or "", (count_of(len(hit), "process", "processes"),))
        below = _descendants(every, pid)
        more = (f"{count_of(len(below), 'descendant')} live on",) if below else ()
        return LocalTarget(made, facts.program.exepath or "", more)

    def container(self, intent: ActionIntent, wanted: str) -> LocalTarget:
        """Identify a container by its name, or the beginning of its id.

        Raises DecisionRefused if there is none, or more than one.
        """
        found = self._containers()
        described = self._described(found)
        chosen = [
            name
            for name in found
            if described[name].name == wanted or (len(wanted) >= 12 and name.full_id.startswith(wanted))
        ]
        if len(chosen) != 1:
            names = sorted({printable(each.name or each.id) for each in described.values()})
            raise DecisionRefused(
                f"{len(chosen) or 'no'} containers of this host have the name or id {printable(wanted)}; those with "
                f"processes: {', '.join(names[:10]) or 'none'}"
            )
        (name,) = chosen
        facts, pids = described[name], found[name]
        image = f"{facts.image_repository}:{facts.image_tag}" if facts.image_repository else facts.image or ""
        made = replace(intent, text=f"container {facts.name or name.id}", container_id=name.full_id, workload=image)
        hits = [count_of(len(pids), "process", "processes"), *([f"image {image}"] if image else [])]
        return LocalTarget(made, "", tuple(hits))

    def host(self, intent: ActionIntent) -> LocalTarget:
        """Identify this host."""
        hits = (
            count_of(len(self._containers()), "container"),
            count_of(len(self._files.pids()), "process", "processes"),
        )
        return LocalTarget(replace(intent, text=f"host {intent.hostname}"), "", hits)

    def user(self, intent: ActionIntent, name: str) -> LocalTarget:
        """Identify a user of this host. Raises DecisionRefused if there is none."""
        try:
            uid = pwd.getpwnam(name).pw_uid
        except KeyError:
            raise DecisionRefused(f"this host has no user {printable(name)}") from None
        count = sum(each.credentials.uid == uid for each in self._files.read_all())
        hits = (count_of(count, "process", "processes"),)
        return LocalTarget(replace(intent, text=f"user {name}", user=name, uid=uid), "", hits)

    def file(self, intent: ActionIntent, path: str) -> LocalTarget:
        """Identify a file of this host, or a program."""
        made = replace(intent, text=f"{intent.target} {path}", path=path)
        running = sum(each.program.exepath == path for each in self._files.read_all())
        return LocalTarget(made, path, (f"{count_of(running, 'process', 'processes')} run it",) if running else ())

    def _container(self, pid: int) -> ContainerName | None:
        cgroup = self._files.read_cgroup(pid)
        return None if cgroup is None else self._naming.container_of(cgroup)

    def _containers(self) -> dict[ContainerName, list[int]]:
        """Return the processes of each container."""
        found: dict[ContainerName, list[int]] = {}
        for pid in self._files.pids():
            if (name := self._container(pid)) is not None:
                found.setdefault(name, []).append(pid)
        return found

    def _described(self, found: dict[ContainerName, list[int]]) -> dict[ContainerName, Container]:
        with closing(KnownContainers(self._runtimes)) as known:
            until = time.monotonic() + _SECONDS_FOR_CONTAINERS
            # The sum starts the queries of all of them.
            while sum(known.is_pending(name, time.monotonic_ns(), pids[0]) for name, pids in found.items()):
                if time.monotonic() > until:
                    break
                time.sleep(0.02)
                known.poll(time.monotonic_ns())
            return {name: known.facts(name) for name in found}


def _descendants(processes: Sequence[ProcessFacts], pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for each in processes:
        children.setdefault(each.context.ppid or 0, []).append(each.pid)
    found: set[int] = set()
    left = [pid]
    while left:
        fresh = [child for child in children.get(left.pop(), ()) if child not in found]
        found.update(fresh)
        left += fresh
    return found
