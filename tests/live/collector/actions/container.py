"""A container without a runtime: a process in its own namespaces, and in a cgroup as Docker would name it."""

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from collector.processes.container_names import MOUNTS
from schemas.action import ActionIntent, ActionType, TargetType

LEASE = 60_000_000_000
ADDRESS, PEER = "10.99.0.1", "10.99.0.2"
_HIERARCHY = next(each for each in MOUNTS if (each / "cgroup.procs").exists())


@dataclass(frozen=True, slots=True)
class Container:
    """Its id and its first process."""

    id: str
    init: "subprocess.Popen[bytes]"
    cgroup: Path
    others: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The first process in its namespaces."""
        return int(Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children").read_text().split()[0])

    def inside(self, *command: str, namespaces: str = "-n") -> "subprocess.CompletedProcess[str]":
        """Run a command in its network, or in other namespaces of it."""
        entered = ("nsenter", "-t", str(self.pid), *namespaces.split(), *command)
        return subprocess.run(entered, capture_output=True, text=True, timeout=20, check=False)

    def end(self) -> None:
        """End its processes and remove its cgroup."""
        for process in (*self.others, self.init):
            process.kill()
        with contextlib.suppress(OSError):
            for pid in (self.cgroup / "cgroup.procs").read_text().split():
                os.kill(int(pid), 9)
        for process in (*self.others, self.init):
            process.wait()
        for _ in range(100):
            with contextlib.suppress(OSError):
                self.cgroup.rmdir()
            if not self.cgroup.exists():
                return
            subprocess.run(("sleep", "0.02"), check=True)


@contextlib.contextmanager
def container(
    *options: str, capabilities: str = "-net_admin", parent: str = "docker", container_id: str = ""
) -> Iterator[Container]:
    """Start a container with a network of its own, with other namespaces by options for unshare(1).

    capabilities: changes of its bounding set, as for setpriv(1).
    """
    identifier = container_id or secrets.token_hex(32)
    cgroup = _HIERARCHY / parent / identifier
    cgroup.mkdir(parents=True)
    script = f'echo 0 > {cgroup}/cgroup.procs; exec unshare "$@" -m -p -f --kill-child sh -c "echo; exec sleep 300"'
    bounded = ("setpriv", f"--bounding-set={capabilities}") if capabilities else ()
    init = subprocess.Popen((*bounded, "sh", "-c", script, "sh", *(options or ("-n",))), stdout=subprocess.PIPE)
    found = Container(identifier, init, cgroup)
    try:
        assert init.stdout is not None
        assert init.stdout.readline() == b"\n"
        yield found
    finally:
        found.end()


def joined(one: Container, other: Container) -> None:
    """Connect the networks of two containers: the first has ADDRESS, the second PEER."""
    added = f"ip link add e0 netns {one.pid} type veth peer name e0 netns {other.pid}"
    subprocess.run(added.split(), check=True)
    for each, address in ((one, ADDRESS), (other, PEER)):
        for command in (f"address add {address}/24 dev e0", "link set e0 up", "link set lo up"):
            assert each.inside("ip", *command.split()).returncode == 0


def intent(
    kind: ActionType, target: TargetType, *, lease: int = LEASE, identifier: str = "i", **of: "str | int"
) -> ActionIntent:
    """Return an intent; of: what identifies the target."""
    base = ActionIntent(identifier, kind, target, "h", "web-3", "do", f"a {target}", 1, lease=lease)
    return replace(base, **of)  # type: ignore[arg-type]
