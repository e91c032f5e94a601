"""Settings of a collector."""

from dataclasses import dataclass, field
from pathlib import Path

from collector.bpf.program import RingSizes
from collector.containers.docker import DEFAULT_SOCKET, PODMAN_SOCKET
from collector.kernel_feed import SENT_WHOLE

CACHE = Path("/var/cache/lanner")
"""Where a collector caches its compiled program."""


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """Settings of a collector; the defaults suit a host of any size."""

    host_id: str = ""
    """Empty for the machine's own id."""
    host_name: str = ""
    """Empty for the name in the environment, else the machine's own."""
    version: str = "0.1.0"
    rings: RingSizes = field(default_factory=RingSizes)
    flush_events: int = 500
    flush_bytes: int = 512 * 1024
    """Approximate size of events, processes and containers together; one event may exceed it by a bounded amount."""
    flush_seconds: float = 0.1
    """How long a batch waits for more events; half as long while `flush_events` or more come per second."""
    hurries: bool = False
    """True if, while few records come, a batch with an event that a rule may match waits for no more events."""
    heartbeat_seconds: float = 15.0
    """A batch is sent at least this often, even without events, so that a quiet host differs from a dead one."""
    variables: frozenset[str] = frozenset()
    """Names of the environment variables to collect at exec."""
    cache: Path = CACHE
    docker_socket: Path = DEFAULT_SOCKET
    podman_socket: Path = PODMAN_SOCKET
    cri_sockets: tuple[Path, ...] = ()
    """Sockets of further runtimes; empty for the usual ones. That of a container's own shim is found without."""
    unknown_containers: bool = True
    """True if pid and mount namespaces of its own put a process into a container, whatever its cgroup's name."""
    container_parents: tuple[str, ...] = ()
    """Further cgroups below which runtimes create those of containers; `*` matches any part of one name."""
    server_packages: bool = False
    """Whether to find out which processes listen on the network, and of which packages they are."""
    sent_whole: int = SENT_WHOLE
    """Equal calls of one process that are sent whole per second and CPU; further ones are counted and sent as one. 0:
    all are sent."""
    exact_paths: bool = True
    """Take the paths of calls such as unlink and rename from the kernel's own copies, which user space can't modify."""
    repeats_seconds: float = 1.0
    """How often that count is sent."""
    previous_start: int = 0
    """Start of the previous collector, ns; 0 if unknown."""
    previous_sequence: int = -1
    """The last batch that it sent, as far as known."""

    def wait_seconds(self, events: int, waited: float) -> float:
        """Return how long a batch of so many events, which has waited for some seconds, waits for more.

        Where events come so fast that half of the time collects enough of them, alerts come sooner.
        """
        is_fast = events >= self.flush_events * waited
        return self.flush_seconds / 2 if is_fast else self.flush_seconds
