"""Facts about real containers, compared with docker inspect and the containers themselves."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.containers.docker import Docker as Runtime
from collector.containers.lookup import KnownContainers
from collector.containers.protocol import ContainerNotFound
from collector.processes.container_names import ContainerName, container_of
from collector.processes.files import ProcessFiles
from collector.processes.rows import ProcessRows
from collector.processes.table import ProcessTable
from collector.processes.users import UserFiles
from schemas.batch import Mount
from tests.live.containers import Docker

pytestmark = pytest.mark.containers

POD = {
    "io.kubernetes.pod.name": "web-7f",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": "u-1",
    "app": "web",
}


def test_a_container_s_facts_are_those_of_docker_inspect(docker: Docker, tmp_path: Path) -> None:
    """Name, image, privileges, mounts and pod, found by its first process's cgroup alone."""
    labels = [option for key, value in POD.items() for option in ("--label", f"{key}={value}")]
    mount = ("-v", f"{tmp_path}:/data:ro")
    with docker.running(docker.busybox(), *mount, *labels) as container:
        pid = int(docker.inspect(container, "{{.State.Pid}}"))
        cgroup = ProcessFiles().read_cgroup(pid)
        name = container_of(cgroup or "")
        assert name is not None

        found = Runtime(docker.socket).inspect(name)

        assert found.full_id == docker.inspect(container, "{{.Id}}")
        assert found.id == found.full_id[:12]
        assert (found.type, found.name) == ("docker", container)
        assert found.image == docker.inspect(container, "{{.Config.Image}}")
        assert f"{found.image_repository}:{found.image_tag}" == found.image
        assert f"sha256:{found.image_id}" == docker.inspect(container, "{{.Image}}")
        assert (found.privileged, found.host_network, found.host_pid) == (False, True, False)
        assert found.mounts == (Mount(str(tmp_path), "/data", "ro", rw=False, propagation="rprivate"),)
        assert (found.pod_name, found.pod_namespace, found.pod_uid) == ("web-7f", "shop", "u-1")
        assert found.pod_labels == (("app", "web"),)
        assert found.start_ts is not None
        assert abs(found.start_ts - time.time_ns()) < 60 * 10**9


def test_a_privileged_container_is_reported_before_it_starts(docker: Docker) -> None:
    """It is only created, because not every machine can run one; it has no start yet."""
    made = docker.daemon.client("create", "--privileged", "--pid", "host", "--ipc", "host", docker.busybox(), "sh")
    full_id = made.stdout.strip()

    found = Runtime(docker.socket).inspect(ContainerName("docker", full_id))

    docker.daemon.client("rm", full_id)
    assert (found.privileged, found.host_pid, found.host_ipc, found.start_ts) == (True, True, True, None)


def test_an_unknown_container_is_not_found(docker: Docker) -> None:
    """The daemon responds, but doesn't know that one."""
    with pytest.raises(ContainerNotFound):
        Runtime(docker.socket).inspect(ContainerName("docker", "0" * 64))


def test_a_container_s_process_is_named_by_the_container_s_files(docker: Docker) -> None:
    """Its row has the container's user, its pid in both namespaces, and the shim among its ancestors."""
    known = KnownContainers([Runtime(docker.socket)])
    with docker.running(docker.busybox(), "--user", "1000:1000") as container:
        files = ProcessFiles()
        table = ProcessTable(files, time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        table.seed(files.read_all())
        rows = ProcessRows(table, UserFiles(), known)
        entry = table.living.get(int(docker.inspect(container, "{{.State.Pid}}")))
        assert entry is not None
        assert entry.container is not None
        assert known.is_pending(entry.container, 0)
        wait_until(lambda: bool(known.poll(0)))

        process = rows.processes[rows.row(entry)]

    known.close()
    assert (process.user, process.group, process.vpid) == ("alice", "alice", 1)
    assert rows.containers[process.container].name == container
    shim = rows.processes[process.parent]
    assert (shim.name or "").startswith("containerd-shim")
    assert shim.container == -1


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that another thread fulfills."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)
