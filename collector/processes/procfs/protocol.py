"""What the process table needs of /proc, as a seam: its tests bring a /proc of their own."""

from typing import Protocol

from collector.processes.parts import Credentials, ProcessFacts


class ProcfsReader(Protocol):
    """What the table asks /proc for; each answer is None where the process is gone."""

    def read(self, pid: int) -> ProcessFacts | None:
        """Read one process."""

    def read_credentials(self, pid: int, tid: int) -> Credentials | None:
        """Read the credentials of one thread."""

    def read_cgroup(self, pid: int) -> str | None:
        """Read the cgroup's path."""
