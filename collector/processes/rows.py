"""Writes processes as rows of the batch under construction, each as it was at its event."""

from dataclasses import dataclass
from typing import Protocol

from collector.containers.naming import ContainerName
from collector.processes.entry import Entry
from collector.processes.facts import is_exe_writable
from collector.processes.lineage import ancestors
from collector.processes.names import Names
from schemas.batch import Container, Process

_ITSELF = -2
_MAX_NESTING = 8
"""Leaders of ancestors of leaders that are followed; real sessions need two or three."""


class Leaders(Protocol):
    """What rows need of the process table."""

    changes: int

    def session_leader(self, entry: Entry) -> Entry | None:
        """Give the leader of a process's session."""

    def group_leader(self, entry: Entry) -> Entry | None:
        """Give the leader of a process's group."""


class NamesOfIds(Protocol):
    """What rows need of the user files."""

    def names(
        self, uid: int, gid: int | None, loginuid: int | None, container: ContainerName | None, pids: tuple[int, ...]
    ) -> Names:
        """Name the ids as the host's or the container's own files do."""


class ContainerFacts(Protocol):
    """What rows need of the container runtimes."""

    version: int
    """Goes up when more is known of any container."""

    def facts(self, name: ContainerName) -> Container:
        """Give what is known of a container by now."""


@dataclass(slots=True)
class _Written:
    stamp: int
    """The state of the world under which the row was last found to hold."""
    key: tuple[int, int, int, int, int]
    row: int


class ProcessRows:
    """The process and container tables of one batch after another.

    A process whose facts, ancestors, leaders and container are what they were is one dictionary lookup; a change
    of a process that others point to makes their next events look again, and only what really changed gets a new row.
    """

    def __init__(self, table: Leaders, names: NamesOfIds, containers: ContainerFacts) -> None:
        self.processes: list[Process] = []
        self.containers: list[Container] = []
        self._table = table
        self._names = names
        self._facts = containers
        self._rows: dict[Entry, _Written] = {}
        self._container_rows: dict[str, tuple[Container, int]] = {}

    def take(self) -> tuple[list[Process], list[Container]]:
        """Give the tables of the batch that is full, and begin those of the next."""
        taken = self.processes, self.containers
        self.processes, self.containers = [], []
        self._rows = {}
        self._container_rows = {}
        return taken

    def prepare(self, entry: Entry) -> None:
        """Read now what may be gone when the row of an event that has to wait is written: the container's users."""
        if entry.container is not None and entry.exited_at is None:
            uid = entry.credentials.uid
            self._names.names(uid, None, None, entry.container, _insiders(entry))

    def row(self, entry: Entry) -> int:
        """Give the row of a process as it is now, writing it and what it points to where they aren't there yet."""
        stamp = self._table.changes + self._facts.version
        written = self._rows.get(entry)
        if written is not None and written.stamp == stamp and written.key[0] == entry.version:
            return written.row
        return self._write(entry, stamp, set(), 0)

    def _write(self, entry: Entry, stamp: int, open_entries: set[Entry], depth: int) -> int:
        chain = [entry]
        row = -1
        for ancestor in ancestors(entry):
            written = self._rows.get(ancestor)
            if written is not None and written.stamp == stamp and written.key[0] == ancestor.version:
                row = written.row
                break
            chain.append(ancestor)
        open_entries.update(chain)
        for each in reversed(chain):
            row = self._write_one(each, row, stamp, open_entries, depth)
            open_entries.discard(each)
        return row

    def _write_one(self, entry: Entry, parent: int, stamp: int, open_entries: set[Entry], depth: int) -> int:
        session = self._leader_row(entry, self._table.session_leader(entry), stamp, open_entries, depth)
        group = self._leader_row(entry, self._table.group_leader(entry), stamp, open_entries, depth)
        key = (entry.version, parent, session, group, self._container_row(entry.container))
        written = self._rows.get(entry)
        if written is not None and written.key == key:
            written.stamp = stamp
            return written.row
        row = len(self.processes)
        self.processes.append(self._process(entry, row, key))
        self._rows[entry] = _Written(stamp, key, row)
        return row

    def _leader_row(self, entry: Entry, leader: Entry | None, stamp: int, open_entries: set[Entry], depth: int) -> int:
        if leader is None:
            return -1
        if leader is entry:
            return _ITSELF
        written = self._rows.get(leader)
        if written is not None and written.stamp == stamp and written.key[0] == leader.version:
            return written.row
        # A leader that descends from a row still to be written can't come before it.
        if depth >= _MAX_NESTING or leader in open_entries or any(a in open_entries for a in ancestors(leader)):
            return -1
        return self._write(leader, stamp, open_entries, depth + 1)

    def _container_row(self, name: ContainerName | None) -> int:
        if name is None:
            return -1
        facts = self._facts.facts(name)
        written = self._container_rows.get(name.key)
        if written is not None and written[0] is facts:
            return written[1]
        self.containers.append(facts)
        row = len(self.containers) - 1
        self._container_rows[name.key] = (facts, row)
        return row

    def _process(self, entry: Entry, row: int, key: tuple[int, int, int, int, int]) -> Process:
        program, credentials, place = entry.program, entry.credentials, entry.place
        _, parent, session, group, container = key
        names = self._names.names(
            credentials.uid,
            credentials.gid,
            place.loginuid,
            entry.container,
            () if entry.container is None else _insiders(entry),
        )
        boot_to_epoch = entry.start_epoch - entry.start_time
        init_start = place.pid_namespace_init_start
        return Process(
            pid=entry.pid,
            ppid=place.ppid,
            vpid=place.vpid,
            pgid=place.pgid,
            vpgid=place.vpgid,
            sid=place.sid,
            name=program.name,
            exe=program.exe,
            exepath=program.exepath,
            args=program.args,
            env=program.env,
            cwd=place.cwd,
            tty=place.tty,
            loginuid=place.loginuid,
            uid=credentials.uid,
            gid=credentials.gid,
            user=names.user,
            group=names.group,
            login_name=names.login_name,
            home=names.home,
            shell=names.shell,
            cap_effective=credentials.cap_effective,
            cap_permitted=credentials.cap_permitted,
            cap_inheritable=credentials.cap_inheritable,
            is_exe_writable=is_exe_writable(program, credentials),
            is_exe_upper_layer=program.is_upper_layer,
            is_exe_lower_layer=program.is_lower_layer,
            is_exe_from_memfd=program.is_from_memfd,
            exe_ino=program.exe_ino,
            exe_ino_ctime=program.exe_ctime,
            exe_ino_mtime=program.exe_mtime,
            start_time=entry.start_epoch,
            exec_time=entry.exec_time,
            pidns_init_start_time=None if init_start is None else init_start + boot_to_epoch,
            exec_generation=entry.exec_generation or 0,
            is_args_truncated=program.is_args_truncated,
            is_env_truncated=program.is_env_truncated,
            cgroup=place.cgroup,
            container=container,
            parent=parent,
            session_leader=row if session == _ITSELF else session,
            group_leader=row if group == _ITSELF else group,
        )


def _insiders(entry: Entry) -> tuple[int, ...]:
    """Give pids through which the container's files can be reached, its oldest process first.

    The oldest is the least likely to have changed its root to a folder with files of its own making.
    """
    eldest = entry
    for ancestor in ancestors(entry):
        if ancestor.container != entry.container:
            break
        if ancestor.exited_at is None:
            eldest = ancestor
    return (entry.pid,) if eldest is entry else (eldest.pid, entry.pid)
