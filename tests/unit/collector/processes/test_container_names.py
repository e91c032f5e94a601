import os
import subprocess
import time
from pathlib import Path

import pytest

from collector.processes.container_names import ContainerName, Isolation, host_mount_namespaces
from collector.processes.files import ProcessFiles
from collector.processes.parts import ProcessContext

ID = "3d09256ebd53e581615d1a65971dcbac3ae1614adfae4b06c829c5f8f5678ec6"
HOST, OWN = 1, 2
ROOTLESS = f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"


def context(cgroup: str | None = "/", mounts: int | None = OWN, vpid: int | None = 1) -> ProcessContext:
    """Return the place of a process in namespaces of its own."""
    return ProcessContext(vpid=vpid, pid_namespace=0xF0000ABC, mount_namespace=mounts, cgroup=cgroup)


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        ("/", ContainerName("unknown", "0000f0000abc")),
        (None, ContainerName("unknown", "0000f0000abc")),
        ("/user.slice/session-1.scope", ContainerName("unknown", "0000f0000abc")),
        ("/teams/my-box", ContainerName("unknown", "my-box", None, "/teams/my-box")),
        (f"{ROOTLESS}/container", ContainerName("podman", ID, None, ROOTLESS, is_certain=False)),
    ],
)
def test_a_process_with_namespaces_of_its_own_is_in_a_container(cgroup: str | None, name: ContainerName) -> None:
    """Its id is what its runtime chose, if the cgroup shows it, else that of the namespace."""
    assert Isolation(frozenset({HOST})).container_of(70, context(cgroup)) == name


@pytest.mark.parametrize(
    "here", [context(mounts=HOST), context(vpid=70), context(mounts=None), context(vpid=None), context(mounts=0)]
)
def test_one_namespace_alone_makes_no_container(here: ProcessContext) -> None:
    """Systemd gives services mounts of their own, and a browser gives its tabs process ids; unknown proves nothing."""
    assert Isolation(frozenset({HOST})).container_of(70, here) is None


def test_where_the_hosts_namespace_is_unknown_nothing_is_isolated() -> None:
    """The first process can't always be looked at."""
    assert Isolation(frozenset()).container_of(70, context()) is None
    assert host_mount_namespaces(Path("/none")) == frozenset()


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="only root makes namespaces")
def test_a_process_under_unshare_is_isolated() -> None:
    """With the facts that /proc has of it."""
    command = ["unshare", "--pid", "--fork", "--mount", "sleep", "60"]
    with subprocess.Popen(command) as running:
        try:
            child = _child(running.pid)
            facts = ProcessFiles().read(child)
            ours = ProcessFiles().read(os.getpid())
        finally:
            subprocess.run(["kill", "-9", str(child)], check=True)
    assert facts is not None
    assert ours is not None
    isolation = Isolation(host_mount_namespaces())

    assert isolation.container_of(os.getpid(), ours.context) is None
    assert (isolation.container_of(child, facts.context) or ContainerName("", "")).type == "unknown"


def _child(pid: int) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children and Path(f"/proc/{children[0]}/comm").read_text().strip() == "sleep":
            return int(children[0])
    raise TimeoutError("unshare started nothing")
