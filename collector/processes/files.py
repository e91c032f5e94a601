"""Reads processes from /proc: all of them at start-up, and one if a record contradicts the table.

Any process may end between two reads, and its pid be reused, so the start time is read first and last.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from collector.processes.parts import Credentials, ExecutedProgram, ProcessContext, ProcessFacts
from collector.procfs.foreign_files import Attributes, cached_stat
from collector.procfs.parse import (
    MAX_ARGUMENT_BYTES,
    Stat,
    Status,
    parse_cgroup,
    parse_cmdline,
    parse_stat,
    parse_status,
    text_of,
)
from collector.procfs.reading import MAX_MEMORY_FILE, read_file, read_memory
from collector.records.decode import epoch_time
from collector.records.exec_strings import code_path, entries_of, shown

MAX_FILE = 64 * 1024
"""Bytes read per file: more than any file has, except for command lines, which are cut far below it."""

_DELETED = " (deleted)"
_MEMFD = "/memfd:"
_UNSET_LOGINUID = 2**32 - 1


Memory = Callable[[int], tuple[bytes | None, bytes | None]]
"""Returns command line and environment of a process, None for what can't be read."""


class ProcessFiles:
    """The processes of this host, from their files in procfs.

    Args:
        proc: where procfs is mounted.
        variables: names of the environment variables that rules use.
        memory: reads a process's command line and its environment; returns None if that takes too long. The default
            blocks the caller.
    """

    def __init__(
        self, proc: Path = Path("/proc"), *, variables: frozenset[str] = frozenset(), memory: Memory | None = None
    ) -> None:
        self._proc = str(proc)
        self.variables = variables
        self._memory: Memory = partial(read_memory, proc) if memory is None else memory

    def read_all(self) -> Iterator[ProcessFacts]:
        """Read every process, skipping those that end in the meantime."""
        for pid in self.pids():
            facts = self.read(pid)
            if facts is not None:
                yield facts

    def pids(self) -> list[int]:
        """Return the pids of all processes."""
        names = os.listdir(self._proc)  # noqa: PTH208 - names only, thousands of them
        return [int(name) for name in names if name.isdigit()]

    def read(self, pid: int) -> ProcessFacts | None:
        """Read one process; None if it has ended, is a mere thread, or was replaced during the read."""
        folder = f"{self._proc}/{pid}"
        first = self._stat(folder)
        status = self._status(folder)
        if first is None or status is None or status.tgid != pid:
            return None
        facts = ProcessFacts(
            pid=pid,
            start_ticks=first.start_ticks,
            program=self._program(pid, first, status),
            credentials=_credentials(status),
            context=self._context(pid, first, status),
        )
        last = self._stat(folder)
        return facts if last is not None and last.start_ticks == first.start_ticks else None

    def read_credentials(self, pid: int, tid: int) -> Credentials | None:
        """Read the credentials of one thread."""
        status = self._status(f"{self._proc}/{pid}/task/{tid}")
        return None if status is None else _credentials(status)

    def read_cgroup(self, pid: int) -> str | None:
        """Read the path of the cgroup that identifies containers."""
        text = read_file(f"{self._proc}/{pid}/cgroup", MAX_FILE)
        return None if text is None else parse_cgroup(text)

    def _stat(self, folder: str) -> Stat | None:
        text = read_file(f"{folder}/stat", MAX_FILE)
        return None if text is None else parse_stat(text)

    def _status(self, folder: str) -> Status | None:
        text = read_file(f"{folder}/status", MAX_FILE)
        return None if text is None else parse_status(text)

    def _program(self, pid: int, found: Stat, status: Status) -> ExecutedProgram:
        if found.is_kernel_thread:
            return ExecutedProgram(name=found.comm, args=())
        folder = f"{self._proc}/{pid}"
        text, variables = self._memory(pid)
        # Empty for a process in the middle of an exec, a zombie, or one that wiped them: unknown.
        arguments = parse_cmdline(text) if text else None
        is_args_truncated = text is not None and len(text) > MAX_ARGUMENT_BYTES
        is_env_truncated = variables is not None and len(variables) > MAX_ARGUMENT_BYTES
        is_whole = variables is not None and len(variables) < MAX_MEMORY_FILE
        link = _link(f"{folder}/exe")
        exepath = None if link is None else link.removesuffix(_DELETED)
        file = _stat_of(f"{folder}/exe")
        return ExecutedProgram(
            name=found.comm,
            exe=arguments[0] if arguments else None,
            exepath=exepath,
            args=None if arguments is None else arguments[1:],
            codepath=code_path(
                exepath or "",
                None,
                entries_of(variables or b"") if text and is_whole else None,
                cwd=None if status.uid else _link(f"{folder}/cwd"),
            ),
            env=self._shown(variables),
            exe_dev=None if file is None else os.major(file.device) << 20 | os.minor(file.device),
            exe_ino=None if file is None else file.inode,
            exe_mode=None if file is None else file.mode,
            exe_uid=None if file is None else file.uid,
            exe_gid=None if file is None else file.gid,
            exe_ctime=None if file is None else epoch_time(file.ctime),
            exe_mtime=None if file is None else epoch_time(file.mtime),
            is_from_memfd=None if link is None else link.startswith(_MEMFD) and link.endswith(_DELETED),
            is_args_truncated=is_args_truncated,
            is_env_truncated=is_env_truncated,
        )

    def _shown(self, variables: bytes | None) -> tuple[str, ...] | None:
        if variables is None or not self.variables:
            return None
        return tuple(shown(entries_of(variables[:MAX_ARGUMENT_BYTES]), self.variables))

    def _context(self, pid: int, found: Stat, status: Status) -> ProcessContext:
        folder = f"{self._proc}/{pid}"
        cwd = _link(f"{folder}/cwd")
        return ProcessContext(
            ppid=found.ppid,
            vpid=status.vpid,
            pgid=status.pgid,
            vpgid=status.vpgid,
            sid=status.sid,
            tty=found.tty,
            loginuid=_loginuid(read_file(f"{folder}/loginuid", MAX_FILE)),
            pid_namespace=_namespace(_link(f"{folder}/ns/pid")),
            mount_namespace=_namespace(_link(f"{folder}/ns/mnt")),
            cwd=None if cwd is None else cwd.removesuffix(_DELETED),
            cgroup=self.read_cgroup(pid),
        )


def _credentials(status: Status) -> Credentials:
    return Credentials(
        uid=status.uid,
        gid=status.gid,
        cap_effective=status.cap_effective,
        cap_permitted=status.cap_permitted,
        cap_inheritable=status.cap_inheritable,
    )


def _loginuid(text: bytes | None) -> int | None:
    if text is None:  # a kernel without audit support: no login uid
        return -1
    if not text.strip().isdigit():
        return None
    number = int(text)
    return -1 if number == _UNSET_LOGINUID else number


def _namespace(link: str | None) -> int | None:
    """Return the inode number in pid:[4026531836]."""
    if link is None:
        return None
    number = link.partition("[")[2].removesuffix("]")
    return int(number) if number.isdigit() else None


def _link(path: str) -> str | None:
    try:
        return text_of(os.readlink(os.fsencode(path)))  # noqa: PTH115 - as bytes
    except OSError:
        return None


def _stat_of(path: str) -> Attributes | None:
    try:
        found = cached_stat(path)
    except OSError:
        return None
    return found if found.is_regular else None
