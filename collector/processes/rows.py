"""Writes processes as rows of the batch under construction, each as it was at its event.

Whoever starts processes controls how many ancestors an event has and how long their texts are, so the amount that one
event may add is bounded. Whatever is left out is marked in its place.
"""

from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from typing import Protocol

from collector.processes.container_names import ContainerName
from collector.processes.parts import is_exe_writable
from collector.processes.process import LocatedFile, TrackedProcess
from collector.processes.relatives import ancestors
from collector.processes.users import Names
from schemas.batch import Container, NetworkServer, Process, ProgramFile
from schemas.encoding.limits import encoded_length
from schemas.limits import clipped

_ITSELF = -2
_MAX_NESTING = 8
"""Depth to which leaders of ancestors of leaders are followed; real sessions need two or three."""
NEAREST, FARTHEST = 48, 16
"""Ancestors written of a longer lineage: the nearest, and the farthest, which show the service whose child hides behind
many others."""
_OF_LEADERS = 4
"""The same for a leader, whose ancestors appear in no field."""
_SEARCHED_OF_LEADERS = 16
"""Ancestors of a leader that are looked at: an event may have many leaders, and each of these a long lineage."""
_LEAST_NEAR = 12
"""Complete ancestors that a row must have above it to serve as the parent of a new row."""
MAX_LEADER_ROWS = 96
"""Rows of one event beyond which no further leaders are followed."""
MAX_LINE_BYTES, MAX_LEADER_BYTES = 256 << 10, 64 << 10
"""Text bytes of one event's ancestors and leaders; those farther up are clipped. Twelve ancestors always fit: a process
adds at most 20 KiB."""
_CLIPPED_BYTES = 128
_ROW_BYTES = 256
"""Approximate size of a row in a batch, without its texts."""
_INDEX_BYTES = 4
_Texts = tuple[str | None, ...]
_texts_of = attrgetter(
    "name", "exe", "exepath", "codepath", "cwd", "user", "group", "login_name", "home", "shell", "cgroup"
)


class Leaders(Protocol):
    """The parts of the process table that rows need."""

    changes: int

    def session_leader(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the leader of a process's session."""

    def group_leader(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the leader of a process's group."""

    def first_in_container(self, entry: TrackedProcess) -> TrackedProcess | None:
        """Return the living first process of its container, if known."""


class NamesOfIds(Protocol):
    """The parts of the user files that rows need."""

    def names(
        self, uid: int, gid: int | None, loginuid: int | None, container: ContainerName | None, pids: tuple[int, ...]
    ) -> Names:
        """Return the names of ids by the host's or the container's own files."""


class ProgramFacts(Protocol):
    """The parts of the look-up of programs that rows need."""

    version: int
    """Increases whenever more becomes known of any program."""

    def file(self, entry: TrackedProcess) -> ProgramFile | None:
        """Return what is known of a process's program so far."""

    def script(self, entry: TrackedProcess) -> ProgramFile | None:
        """Return what is known of the script that it runs so far; None if it runs none."""

    def opened_text(self, file: LocatedFile) -> str:
        """Return what is known so far of the file that a call opened or mapped, as batches have it."""


class ServerFacts(Protocol):
    """The parts of the look-up of servers that rows need."""

    version: int
    """Increases whenever something else is known."""

    def server(self, entry: TrackedProcess) -> NetworkServer | None:
        """Return what is known of a process as a server; None if it isn't known to listen."""


class ContainerFacts(Protocol):
    """The parts of the container look-up that rows need."""

    version: int
    """Increases whenever more becomes known of any container."""

    def facts(self, name: ContainerName) -> Container:
        """Return what is known of a container so far."""


_Key = tuple[int, int, int, int, int, bool, ProgramFile | None, ProgramFile | None, NetworkServer | None]


@dataclass(slots=True)
class _Written:
    stamp: int
    """State of processes and containers for which the row was last found valid."""
    key: "_Key"
    row: int
    near: int
    """Complete rows in sequence from this one upward; 0 if this row is clipped."""
    is_complete: bool
    """Nothing is left out or clipped, up to the first ancestor."""


class ProcessRows:
    """The process and container tables of one batch after another.

    A process whose facts, ancestors, leaders and container are unchanged costs one dictionary look-up. A change of a
    process that others refer to makes their next events check again, but only real changes add rows.
    """

    def __init__(self, table: Leaders, names: NamesOfIds, containers: ContainerFacts) -> None:
        self.programs: ProgramFacts | None = None
        """What programs are, if rules use it."""
        self.servers: ServerFacts | None = None
        """Which processes listen, if the settings require it."""
        self.processes: list[Process] = []
        self.containers: list[Container] = []
        self.size = 0
        """Approximate bytes of both tables in a batch."""
        self._texts: set[str | None] = set()
        self._measured: set[tuple[_Texts, _Texts, _Texts]] = set()
        """Texts, arguments and environment of each row whose size is included."""
        self._gaps: dict[tuple[int, int], int] = {}
        """Rows that represent omitted ancestors, by their number and the row above."""
        self._leader_rows_until = 0
        self._leader_bytes = 0
        self._table = table
        self._names = names
        self._facts = containers
        self._rows: dict[TrackedProcess, _Written] = {}
        self._container_rows: dict[str, tuple[Container, int]] = {}

    def take(self) -> tuple[list[Process], list[Container]]:
        """Return the tables of the finished batch and begin those of the next."""
        taken = self.processes, self.containers
        self.processes, self.containers = [], []
        self._rows = {}
        self._container_rows = {}
        self._texts = set()
        self._measured = set()
        self._gaps = {}
        self.size = 0
        return taken

    def prepare(self, entry: TrackedProcess) -> None:
        """Read the container's users now, because they may be gone when a waiting event's row is written."""
        if entry.container is not None and entry.exited_at is None:
            uid = entry.credentials.uid
            self._names.names(uid, None, None, entry.container, self._insiders(entry))

    def row(self, entry: TrackedProcess) -> int:
        """Return the row of a process as it is now, writing it and the rows it refers to if needed."""
        stamp = self._table.changes + self._facts.version
        if self.programs is not None:
            stamp += self.programs.version
        if self.servers is not None:
            stamp += self.servers.version
        written = self._rows.get(entry)
        if (
            written is not None
            and written.stamp == stamp
            and written.key[0] == entry.version
            and (written.is_complete or written.near >= _LEAST_NEAR)
        ):
            return written.row
        self._leader_rows_until = len(self.processes) + MAX_LEADER_ROWS
        self._leader_bytes = MAX_LEADER_BYTES
        above = None if entry.parent is None else self._current(entry.parent, stamp)
        if above is not None and (above.is_complete or above.near >= _LEAST_NEAR):
            # Most processes start below one that has a row.
            return self._write_one(entry, above, stamp, {entry}, 0, is_whole=True).row
        return self._write(entry, stamp, set(), 0)

    def _current(self, entry: TrackedProcess, stamp: int) -> _Written | None:
        written = self._rows.get(entry)
        is_current = written is not None and written.stamp == stamp and written.key[0] == entry.version
        return written if is_current else None

    def _write(self, entry: TrackedProcess, stamp: int, open_entries: set[TrackedProcess], depth: int) -> int:
        chain = [entry]
        above, rows = None, self._rows
        for ancestor in islice(ancestors(entry), _SEARCHED_OF_LEADERS if depth else None):
            # As _current does, without a call: a lineage may be long.
            written = rows.get(ancestor)
            if (
                written is not None
                and written.stamp == stamp
                and written.key[0] == ancestor.version
                and (written.is_complete or len(chain) + written.near >= _LEAST_NEAR)
            ):
                above = written
                break
            chain.append(ancestor)
        nearest, farthest = (_OF_LEADERS, 0) if depth else (NEAREST, FARTHEST)
        left_out = max(0, len(chain) - 1 - nearest - farthest)
        if left_out:
            del chain[1 + nearest : 1 + nearest + left_out]
        whole = self._whole(chain, depth)
        open_entries.update(chain)
        for index in range(len(chain) - 1, -1, -1):
            if left_out and index == nearest:
                above = self._write_gap(left_out, above)
            above = self._write_one(chain[index], above, stamp, open_entries, depth, is_whole=index < whole)
            open_entries.discard(chain[index])
        return -1 if above is None else above.row

    def _whole(self, line: list[TrackedProcess], depth: int) -> int:
        """Return how many processes of a lineage, nearest first, keep their texts complete."""
        if not depth and len(line) <= _LEAST_NEAR:
            return len(line)
        left = self._leader_bytes if depth else MAX_LINE_BYTES
        for index, each in enumerate(line):
            left -= _text_bytes(each)
            if left < 0 and (index or depth):
                return index
            if depth:
                self._leader_bytes = left
        return len(line)

    def _write_gap(self, left_out: int, above: _Written | None) -> _Written:
        """Write a row that represents omitted ancestors; its name states their number."""
        parent = -1 if above is None else above.row
        row = self._gaps.get((left_out, parent))
        if row is None:
            row = self._gaps[left_out, parent] = len(self.processes)
            self._append(Process(pid=0, name=f"[truncated, {left_out} more ancestors]", parent=parent))
        return _Written(-1, (0, parent, -1, -1, -1, False, None, None, None), row, 0, is_complete=False)

    def _append(self, process: Process) -> None:
        self.processes.append(process)
        single, args, env = texts = _texts_of(process), process.args or (), process.env or ()
        self.size += _ROW_BYTES + _INDEX_BYTES * (len(args) + len(env))
        # Many processes run the same program in the same way.
        if texts not in self._measured:
            self._measured.add(texts)
            self._add_texts({*single, *args, *env})
        if (server := process.server) is not None:
            self.size += _INDEX_BYTES * (len(server.listening) + len(server.libraries))
            self._add_texts({*server.listening, *server.libraries, server.package, server.package_version})

    def _add_texts(self, texts: set[str | None]) -> None:
        fresh = texts - self._texts
        if fresh:
            self._texts |= fresh
            self.size += sum([encoded_length(text) + _INDEX_BYTES for text in fresh if text])

    def _write_one(
        self,
        entry: TrackedProcess,
        above: _Written | None,
        stamp: int,
        open_entries: set[TrackedProcess],
        depth: int,
        *,
        is_whole: bool,
    ) -> _Written:
        parent = -1 if above is None else above.row
        session = self._leader_row(entry, self._table.session_leader(entry), stamp, open_entries, depth)
        group = self._leader_row(entry, self._table.group_leader(entry), stamp, open_entries, depth)
        is_clipped = not is_whole and _text_bytes(entry) > _CLIPPED_BYTES
        file = script = None
        if self.programs is not None:
            file, script = self.programs.file(entry), self.programs.script(entry)
        server = None if self.servers is None else self.servers.server(entry)
        container = self._container_row(entry.container)
        key = (entry.version, parent, session, group, container, is_clipped, file, script, server)
        written = self._rows.get(entry)
        if written is None or written.key != key:
            row = len(self.processes)
            process = self._process(entry, row, key)
            self._append(_clipped(process) if is_clipped else process)
            written = self._rows[entry] = _Written(stamp, key, row, 0, is_complete=False)
        written.stamp = stamp
        written.near = 0 if is_clipped else 1 + (0 if above is None else above.near)
        written.is_complete = not is_clipped and (above is None or above.is_complete)
        return written

    def _leader_row(
        self,
        entry: TrackedProcess,
        leader: TrackedProcess | None,
        stamp: int,
        open_entries: set[TrackedProcess],
        depth: int,
    ) -> int:
        if leader is None:
            return -1
        if leader is entry:
            return _ITSELF
        written = self._current(leader, stamp)
        if written is not None:
            return written.row
        if len(self.processes) >= self._leader_rows_until:
            return -1
        # A leader that descends from an unwritten row can't come before it.
        if (
            depth >= _MAX_NESTING
            or leader in open_entries
            or any(a in open_entries for a in islice(ancestors(leader), _SEARCHED_OF_LEADERS))
        ):
            return -1
        return self._write(leader, stamp, open_entries, depth + 1)

    def _container_row(self, name: ContainerName | None) -> int:
        if name is None:
            return -1
        facts = self._facts.facts(name)
        written = self._container_rows.get(name.key)
        if written is not None and written[0] is facts:
            return written[1]
        row = len(self.containers)
        self._container_rows[name.key] = (facts, row)
        self.containers.append(facts)
        self.size += _ROW_BYTES
        for pair in (*(facts.labels or ()), *(facts.pod_labels or ())):
            self.size += 2 * _INDEX_BYTES
            self._add_texts(set(pair))
        for mount in facts.mounts or ():
            self.size += 5 * _INDEX_BYTES
            self._add_texts({mount.source, mount.dest, mount.mode, mount.propagation})
        return row

    def _process(self, entry: TrackedProcess, row: int, key: _Key) -> Process:
        program, credentials, context = entry.program, entry.credentials, entry.context
        _, parent, session, group, container, _, file, script, server = key
        names = self._names.names(
            credentials.uid,
            credentials.gid,
            context.loginuid,
            entry.container,
            () if entry.container is None else self._insiders(entry),
        )
        boot_to_epoch = entry.start_epoch - entry.start_time
        init_start = context.pid_namespace_init_start
        # In the order of its members, because keywords take longer.
        return Process(
            entry.pid,
            context.ppid,
            context.vpid,
            context.pgid,
            context.vpgid,
            context.sid,
            program.name,
            program.exe,
            program.exepath,
            program.codepath,
            program.args,
            program.env,
            context.cwd,
            context.tty,
            context.loginuid,
            credentials.uid,
            credentials.gid,
            names.user,
            names.group,
            names.login_name,
            names.home,
            names.shell,
            credentials.cap_effective,
            credentials.cap_permitted,
            credentials.cap_inheritable,
            is_exe_writable(program, credentials),
            program.is_upper_layer,
            program.is_lower_layer,
            program.is_from_memfd,
            program.exe_ino,
            program.exe_ctime,
            program.exe_mtime,
            entry.start_epoch,
            entry.exec_time,
            None if init_start is None else init_start + boot_to_epoch,
            entry.exec_generation or 0,
            program.is_args_truncated,
            program.is_env_truncated,
            context.cgroup,
            container,
            parent,
            row if session == _ITSELF else session,
            row if group == _ITSELF else group,
            file,
            script,
            server,
        )

    def _insiders(self, entry: TrackedProcess) -> tuple[int, ...]:
        """Return pids through which the container's files can be reached: its first process, then its oldest ones.

        Those are the least likely to have changed their root to a directory of their own making.
        """
        first = self._table.first_in_container(entry)
        eldest = entry
        for ancestor in ancestors(entry):
            if ancestor.container != entry.container:
                break
            if ancestor.exited_at is None:
                eldest = ancestor
        return tuple(dict.fromkeys(each.pid for each in (first, eldest, entry) if each is not None))


def _text_bytes(entry: TrackedProcess) -> int:
    """Return the total length of the texts that a process controls."""
    program, context = entry.program, entry.context
    single = (program.exe, program.exepath, program.codepath, context.cwd, context.cgroup)
    return sum(encoded_length(text) for text in (*single, *(program.args or ()), *(program.env or ())) if text)


def _clipped(process: Process) -> Process:
    """Return a row with its long texts cut, each with a mark that states how much is missing."""

    def cut(text: str | None) -> str | None:
        return None if text is None else clipped(text.encode("utf-8", "replace").decode(), _CLIPPED_BYTES)

    args, env = _cut_list(process.args), _cut_list(process.env)
    return replace(
        process,
        exe=cut(process.exe),
        exepath=cut(process.exepath),
        codepath=cut(process.codepath),
        cwd=cut(process.cwd),
        cgroup=cut(process.cgroup),
        args=args,
        env=env,
        is_args_truncated=process.is_args_truncated or args != process.args,
        is_env_truncated=process.is_env_truncated or env != process.env,
    )


def _cut_list(texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if texts is None or sum(map(encoded_length, texts)) <= _CLIPPED_BYTES:
        return texts
    # Joined: what remains of many texts is one beginning and the mark.
    return (clipped(" ".join(texts).encode("utf-8", "replace").decode(), _CLIPPED_BYTES),)
