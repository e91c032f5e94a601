"""Users and creators of containers try to have a container taken for another one, or to hide what it may do."""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from collector.processes.container_names import MOUNTS
from collector.settings import CollectorSettings
from schemas.alert import Alert
from tests.adversary.host.watched import hostile_process
from tests.live.collector.watching import watching
from tests.live.containerd import BUSYBOX, Containerd
from tests.live.containers import Docker
from tests.live.dockerd import PRIVILEGED_RUNTIME
from tests.live.runtime import privileged_runtime
from tests.live.watching import Watch

pytestmark = [pytest.mark.live, pytest.mark.containers]

CLAIMED = {
    "annotations": {
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.image-name": "registry.example/trusted:1",
        "io.kubernetes.cri.container-name": "trusted",
    }
}
SHIMS = 64
CROWD = 150
SHIM = """
import os, pty, sys, time
base, claimed, victim = sys.argv[1:4]
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
listener = __import__("socket").socket(1)
listener.bind(f"{base}/socket")
listener.listen()
for number in range(int(sys.argv[4])):
    folder = f"{base}/{number}"
    os.makedirs(f"{folder}/self")
    os.makedirs(f"{folder}/{victim}")
    with open(f"{folder}/{victim}/config.json", "w") as file:
        file.write(claimed)
    link = f"{folder}/containerd-shim-{number}"
    os.symlink("/usr/bin/su", link)
    os.chdir(f"{folder}/self")
    pid, _ = pty.fork()
    if pid == 0:
        os.execv(link, [link, "--", "root", "-namespace", "k8s.io", "-address", f"{base}/socket"])
    print(pid, flush=True)
print(flush=True)
listener.settimeout(60)
listener.accept()
print("asked", flush=True)
"""
"""Runs su, which is setuid, by the name of a shim and with its arguments."""


@contextmanager
def shims_of_a_user(base: Path, victim: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run processes of an unprivileged user that have the name, the arguments and the effective user of shims."""
    command = [sys.executable, "-I", "-c", SHIM, str(base), json.dumps(CLAIMED), victim, str(SHIMS)]
    pids: list[int] = []
    with hostile_process(command) as process:
        try:
            assert process.stdout is not None
            while line := process.stdout.readline().strip():
                pids.append(int(line))
            assert len(pids) == SHIMS
            yield process
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def cgroup(path: str) -> Iterator[Path]:
    """Make a cgroup, as a runtime does for a container, until the end of the block."""
    mount = next(each for each in MOUNTS if each.is_dir())
    folder = Path(f"{mount}{path}")
    made = [each for each in (folder, folder.parent) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        for each in made:
            _remove(each)


def _remove(folder: Path) -> None:
    for _ in range(50):
        with suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.05)


def run_in(folder: Path, *command: str) -> list[str]:
    """Return a command that enters a cgroup and runs another one there."""
    return ["/bin/sh", "-c", f'echo $$ > {folder}/cgroup.procs; exec "$@"', "sh", *command]


def test_a_setuid_program_by_the_name_of_a_shim_names_no_container(containerd: Containerd, ground: Path) -> None:
    """Neither its folder nor its socket is believed, and real shims find their room as before."""
    containerd.ctr("images", "import", str(containerd.base / "image.tar"), namespace="team")
    with watching("execve", "open", "openat") as watch, shims_of_a_user(ground, "victim") as user:
        with cgroup("/k8s.io/victim") as folder:
            watch.run(*run_in(folder, "/bin/true"))
        script = ("/bin/sh", "-c", "/bin/cat /etc/group; /bin/sleep 0.5")
        watch.run(*containerd.run_command(BUSYBOX, "honest", *script, namespace="team"))
        claimed = watch.events(container__id="victim", proc__name="true")
        honest = watch.events(fd__name="/etc/group", proc__name="cat")[-1]
        assert user.stdout is not None
        os.set_blocking(user.stdout.fileno(), False)
        asked = user.stdout.read()

    assert {(each["container.image"], each["container.name"]) for each in claimed} == {(None, None)}
    assert (honest["container.id"], honest["container.name"], honest["container.image"]) == (
        "honest",
        "honest",
        BUSYBOX,
    )
    assert not asked


class Api(http.client.HTTPConnection):
    """Docker's API, for what is larger than the arguments of its client may be."""

    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Connect to the daemon's socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))

    def post(self, path: str, body: object = None) -> Any:
        """Send a request and return its answer."""
        self.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        assert answer.status < 300, text[:500]
        return json.loads(text or b"null")


def alert_of(watch: Watch, rule: str, container: str) -> Alert:
    """Wait for a rule's alert about a container."""
    return watch.find(lambda alert: alert.rule == rule and alert.event.get("container.full_id") == container, 15)


@pytest.fixture
def docker_watch(docker: Docker, bytecode: Path) -> Iterator[Watch]:
    """Watch with the shipped rules."""
    with Watch(docker.socket, bytecode) as watch:
        yield watch


@pytest.mark.parametrize("number", [80, 300])
def test_labels_do_not_hide_a_privileged_container(docker: Docker, docker_watch: Watch, number: int) -> None:
    """They make Docker's answers larger than was read, and than is read now."""
    api = Api(docker.socket)
    labels = {f"l{each}": "x" * 60_000 for each in range(number)}
    host = {"Privileged": True, "Runtime": PRIVILEGED_RUNTIME, "NetworkMode": "host"}
    made = api.post(
        "/containers/create", {"Image": docker.busybox(), "Cmd": ["sleep", "60"], "Labels": labels, "HostConfig": host}
    )
    try:
        api.post(f"/containers/{made['Id']}/start")

        alert = alert_of(docker_watch, "Start privileged container", made["Id"])
    finally:
        docker.daemon.client("rm", "--force", made["Id"])

    assert alert.event["container.privileged"] is True
    assert (alert.event.get("container.image") is not None) == (number == 80)


def test_mounts_do_not_hide_a_sensitive_one(docker: Docker, docker_watch: Watch, tmp_path: Path) -> None:
    """It may be behind more than are read."""
    api = Api(docker.socket)
    binds = [*(f"{tmp_path}:/a{each:03}" for each in range(300)), "/etc:/z"]
    host = {"Binds": binds, "NetworkMode": "host"}
    made = api.post("/containers/create", {"Image": docker.busybox(), "Cmd": ["sleep", "60"], "HostConfig": host})
    try:
        api.post(f"/containers/{made['Id']}/start")

        alert = alert_of(docker_watch, "Start container with sensitive mount", made["Id"])
    finally:
        docker.daemon.client("rm", "--force", made["Id"])

    assert alert.event["container.truncated"] is True


def test_an_environment_does_not_hide_a_privileged_container(
    containerd: Containerd, docker_watch: Watch, tmp_path: Path
) -> None:
    """It makes the specification larger than is decoded at once."""
    variables = tmp_path / "variables"
    variables.write_text("".join(f"X{number}={'x' * 40_000}\n" for number in range(30)))
    options = ("--privileged", "--env-file", str(variables), "--runc-binary", str(privileged_runtime(tmp_path)))
    command = (
        "run",
        "--rm",
        *options,
        "--runc-root",
        str(containerd.base / "runc"),
        BUSYBOX,
        "padded",
        "/bin/sleep",
        "3",
    )
    containerd.ctr(*command, namespace="default")

    alert = alert_of(docker_watch, "Start privileged container", "padded")

    assert (alert.event["container.privileged"], alert.event["container.truncated"]) == (True, False)


def test_containers_that_come_and_go_keep_none_from_its_facts(docker: Docker) -> None:
    """Dozens a second, of which Docker knows nothing."""

    def come_and_go() -> None:
        for _ in range(CROWD):
            with cgroup(f"/docker/{secrets.token_hex(32)}") as folder:
                subprocess.run(run_in(folder, "/bin/true"), check=True)

    crowd = Thread(target=come_and_go)
    # It lives for as long as a look-up may take beside the crowd's.
    command = ("run", "--rm", "--network", "host", docker.busybox(), "/bin/sh", "-c", "/bin/cat /etc/group; sleep 0.5")
    with watching("execve", "open", "openat", settings=CollectorSettings(docker_socket=docker.socket)) as watch:
        crowd.start()
        watch.run(*docker.daemon.client_command(*command))
        crowd.join()
        watch.settle()
        ran = watch.events(proc__name="true", container__type="docker", container__image=None)
        event = watch.events(fd__name="/etc/group", proc__name="cat")[-1]
        left_out = watch.collector.intake.without_facts["too_many"]

    assert len({each["container.id"] for each in ran}) == CROWD
    assert (event["container.image"], event["container.privileged"], left_out) == (docker.busybox(), False, 0)
