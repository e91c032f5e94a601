"""The interface of /proc that the process table needs; tests supply their own."""

from typing import Protocol

from collector.processes.parts import Credentials, ProcessFacts


class ProcfsReader(Protocol):
    """What the table reads from /proc; each result is None if the process has ended."""

    def read(self, pid: int) -> ProcessFacts | None:
        """Read one process."""

    def read_credentials(self, pid: int, tid: int) -> Credentials | None:
        """Read the credentials of one thread."""

    def read_cgroup(self, pid: int) -> str | None:
        """Read the path of its cgroup."""
