"""Events from real containers carry the container; a runtime that hangs delays nobody else."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.settings import CollectorSettings
from tests.live.collector.watching import watching
from tests.live.containers import Docker

pytestmark = pytest.mark.containers


def test_two_hundred_short_containerised_processes_are_all_in_their_container(docker: Docker, tmp_path: Path) -> None:
    """Each lives for a millisecond, and none is mistaken for the host's."""
    settings = CollectorSettings(docker_socket=docker.socket)
    file = f"/{tmp_path.name}"
    loop = f"echo >{file}; i=0; while [ $i -lt 200 ]; do /bin/cat {file} >/dev/null; i=$((i+1)); done"
    with watching("open", "openat", settings=settings) as watch:
        run_in_background(lambda: docker.run(docker.busybox(), "sh", "-c", loop), watch.settle)
        events = watch.events(fd__name=file, proc__name="cat")

    assert len(events) == 200
    assert {event["container.type"] for event in events} == {"docker"}
    assert {event["container.image"] for event in events} == {docker.busybox()}
    assert len({event["container.id"] for event in events}) == 1
    assert len(events[0]["container.id"]) == 12


def test_fields_of_a_container_are_those_of_docker_inspect(docker: Docker) -> None:
    """Name, image, repository, tag, ids, rights and start, at the event itself."""
    settings = CollectorSettings(docker_socket=docker.socket)
    with (
        watching("open", "openat", "execve", settings=settings) as watch,
        docker.running(docker.busybox(), "--label", "io.kubernetes.pod.name=web-7f", "--label", "tier=front") as name,
    ):
        run_in_background(lambda: docker.exec(name, "cat", "/etc/passwd", tty=True), watch.settle)
        event = watch.events(fd__name="/etc/passwd", proc__name="cat", container__name=name)[-1]
        full_id = docker.inspect(name, "{{.Id}}")

        assert event["container.id"] == full_id[:12]
        assert event["container.full_id"] == full_id
        assert event["container.name"] == name
        repository, tag = docker.busybox().rsplit(":", 1)
        assert (event["container.image.repository"], event["container.image.tag"]) == (repository, tag)
        assert f"sha256:{event['container.image.id']}"[:19] == docker.inspect(name, "{{.Image}}")[:19]
        assert event["container.privileged"] is False
        assert event["k8s.pod.name"] == "web-7f"
        assert event["container.label[tier]"] == "front"
        assert event["proc.tty"] == 34816
        assert event["proc.vpid"] != event["proc.pid"]
        assert event["proc.pname"].startswith("containerd-shim")
        assert event["user.name"] == "root"


def test_a_nested_cgroup_three_deep_is_still_the_container(docker: Docker) -> None:
    """A process that moved itself into a group below its container's has not left it."""
    settings = CollectorSettings(docker_socket=docker.socket)
    with watching("open", "openat", settings=settings) as watch, docker.running(docker.busybox()) as name:
        full_id = docker.inspect(name, "{{.Id}}")
        inner = Path("/sys/fs/cgroup/pids/docker") / full_id / "one" / "two" / "three"
        inner.mkdir(parents=True)
        try:
            script = f"echo $$ > {inner}/cgroup.procs; exec /bin/cat /etc/machine-id"
            watch.run("/bin/sh", "-c", script)
            event = watch.events(fd__name="/etc/machine-id", proc__name="cat")[-1]
        finally:
            for folder in (inner, inner.parent, inner.parent.parent):
                remove_cgroup(folder)

        assert event["container.id"] == full_id[:12]


def test_a_runtime_that_hangs_delays_only_its_container(docker: Docker, hanging: Path) -> None:
    """The host's events come at once, the container's after a second with its cgroup's facts."""
    settings = CollectorSettings(docker_socket=hanging)
    file = f"/{hanging.parent.name}"
    with watching("open", "openat", settings=settings) as watch, docker.running(docker.busybox()) as name:
        begin = time.monotonic()
        worker = threading.Thread(target=lambda: docker.exec(name, "sh", "-c", f"echo >{file}; /bin/cat {file}"))
        worker.start()
        subprocess.run(["/bin/cat", "/etc/hostname"], check=True, stdout=subprocess.DEVNULL)
        delays: dict[str, float] = {}
        while len(delays) < 2 and time.monotonic() < begin + 10:
            watch.collector.poll(0.02)
            if "host" not in delays and watch.events(fd__name="/etc/hostname", proc__name="cat"):
                delays["host"] = time.monotonic() - begin
            if "container" not in delays and watch.events(fd__name=file, proc__name="cat"):
                delays["container"] = time.monotonic() - begin
        worker.join()
        event = watch.events(fd__name=file, proc__name="cat")[-1]

    assert list(delays) == ["host", "container"]
    assert event["container.id"] != "host"
    assert event["container.name"] is None


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Path]:
    """Serve a socket that accepts connections and never responds."""
    path = tmp_path / "hanging.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(64)
        yield path


def run_in_background(act: Callable[[], object], poll: Callable[[], None]) -> None:
    """Run a blocking action on a thread while the collector is polled here."""
    worker = threading.Thread(target=act)
    worker.start()
    while worker.is_alive():
        poll()
    worker.join()
    poll()


def remove_cgroup(folder: Path) -> None:
    """Remove a cgroup; the kernel needs a short time after its last process."""
    for _ in range(50):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.05)
        else:
            return
