"""The cluster of deploy/compose as users start it, in a Docker daemon of the tests' own."""

import fcntl
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from bus.clients.readers import TopicReader
from bus.connection import Connection
from tests.live.debian_image import cache_directory
from tests.live.dockerd import Dockerd
from tests.live.notifier.slack_server import SlackServer
from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/compose/docker-compose.yml"
BUILD = ROOT / "deploy/images/local/build.sh"
PROFILES = ("--profile", "demo", "--profile", "metrics", "--profile", "kubernetes-audit")
VICTIM = "victim"
OWN_ALERTS = f"""services:
  notifier-slack:
    environment:
      LANNER__ROUTES: "[{{match: container.name = {VICTIM}, sink: slack}}]"
"""
"""Slack gets one message a second, and many alerts as one: those about other tests would hide the victim's."""
SHADOW = "Read sensitive file untrusted"
BUILD_SECONDS = 900


@contextmanager
def daemon_with_images() -> Iterator[tuple[Dockerd, dict[str, str]]]:
    """Run a daemon and have all images in it; gives the variables that name them.

    Its store lies in the cache, so that only what has changed is built anew; whoever else wants it waits.
    """
    store = cache_directory() / "docker"
    store.parent.mkdir(parents=True, exist_ok=True)
    with store.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Dockerd(store) as daemon:
            _clear(daemon)
            try:
                yield daemon, _images(daemon, store.with_suffix(".json"))
            finally:
                _clear(daemon)


def _images(daemon: Dockerd, record: Path) -> dict[str, str]:
    """Return the images of this commit: those of the last build, if it was of the same one and they are still there.

    Asking the builder whether all is unchanged takes ten seconds of processor time. record: the last build.
    """
    commit = _commit()
    last: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {}
    if commit and last.get("commit") == commit and _ids(daemon, last["names"].values()) == last["ids"]:
        return dict(last["names"])
    record.unlink(missing_ok=True)
    names = _build(daemon)
    if commit:
        record.write_text(json.dumps({"commit": commit, "names": names, "ids": _ids(daemon, names.values())}))
    return names


def _commit() -> str | None:
    """Return the commit that is checked out; None if a file differs from it."""
    git = ("git", "-C", str(ROOT))
    status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False)
    if status.returncode or status.stdout:
        return None
    return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def _ids(daemon: Dockerd, names: Iterable[str]) -> list[str]:
    return daemon.client("image", "inspect", "--format", "{{.Id}}", *names, check=False).stdout.split()


def _build(daemon: Dockerd) -> dict[str, str]:
    environment = os.environ | {"DOCKER": " ".join(daemon.client_command())}
    done = subprocess.run(
        [BUILD], env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def _clear(daemon: Dockerd) -> None:
    """Remove what this run, or an earlier killed one, left: containers, volumes, networks; images stay."""
    if containers := daemon.client("ps", "-aq").stdout.split():
        daemon.client("rm", "--force", "--volumes", *containers, timeout=120)
    if volumes := daemon.client("volume", "ls", "-q").stdout.split():
        daemon.client("volume", "rm", *volumes, timeout=120)
    daemon.client("network", "prune", "--force")


class Cluster:
    """One docker-compose project."""

    def __init__(self, daemon: Dockerd, images: Mapping[str, str], folder: Path) -> None:
        self.daemon = daemon
        self.slack: SlackServer | None = None
        self._project = "e2e"
        self._folder = folder
        self._own_alerts = folder / "own-alerts.yml"
        self._own_alerts.write_text(OWN_ALERTS)
        broker, readers, metrics, self.audit_port = free_ports(4)
        self._broker = f"127.0.0.1:{broker}"
        self._readers = f"127.0.0.1:{readers}"
        self.prometheus = f"http://127.0.0.1:{metrics}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LANNER", "COMPOSE"))}
        self._environment = clean | {
            **images,
            "DOCKER_HOST": f"unix://{daemon.socket}",
            "COMPOSE_HTTP_TIMEOUT": "180",
            "LANNER_DOCKER_SOCKET": str(daemon.socket),
            "LANNER_HOSTNAME": socket.gethostname(),
            "LANNER_KAFKA_PORT": str(broker),
            "LANNER_KAFKA_READERS_PORT": str(readers),
            "LANNER_KAFKA_HEAP": "-Xms192m -Xmx192m",
            "LANNER_PROMETHEUS_PORT": str(metrics),
            "LANNER_AUDIT_PORT": str(self.audit_port),
        }

    def set(self, **variables: str) -> None:
        """Set variables of the compose file, as .env does."""
        self._environment |= variables

    def compose(self, *arguments: str, timeout: float = 180) -> str:
        """Run docker-compose and return its output."""
        files = ("-f", str(FILE), "-f", str(self._own_alerts))
        command = ["docker-compose", "-p", self._project, *files, *arguments]
        done = subprocess.run(
            command,
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    @cached_property
    def connection(self) -> Connection:
        """Return a connection with the cluster's own password."""
        return Connection(
            bootstrap_servers=self._broker,
            security_protocol="sasl_plaintext",
            username="lanner-operator",
            password=self.secret("operator"),
        )

    def secret(self, name: str) -> str:
        """Return what `secrets show` prints."""
        return self.compose("run", "--rm", "--no-deps", "secrets", "show", name).strip()

    def reader(self, folder: Path) -> Connection:
        """Return the connection of a reader that can't use SCRAM; the certificate is put into a folder."""
        certificate = folder / "lanner.crt"
        certificate.write_text(self.secret("certificate"))
        return Connection(
            bootstrap_servers=self._readers,
            security_protocol="sasl_ssl",
            sasl_mechanism="plain",
            username="lanner-reader",
            password=self.secret("reader"),
            ca_file=str(certificate),
        )

    def gateway(self) -> str:
        """Create the network, with a service that needs no other, and return the host's address in it."""
        self.compose("up", "--no-start", "rsyslog")
        form = "{{(index .IPAM.Config 0).Gateway}}"
        return self.daemon.client("network", "inspect", f"{self._project}_default", "-f", form).stdout.strip()

    def containers(self, service: str, *options: str) -> list[str]:
        """Return the ids of a service's running containers. options: further ones of `docker ps`."""
        labels = [f"label=com.docker.compose.{key}" for key in (f"project={self._project}", f"service={service}")]
        return self.daemon.client(
            "ps", "-q", *options, *(word for label in labels for word in ("--filter", label))
        ).stdout.split()

    def log(self, service: str) -> str:
        """Return what the containers of a service printed, also those that have ended."""
        # Not by compose, which takes a second to begin.
        logs = [self.daemon.client("logs", each, check=False) for each in self.containers(service, "--all")]
        return "".join(each.stdout + each.stderr for each in logs)

    def said(self, service: str, text: str) -> int:
        """Count how often the containers of a service printed a text."""
        return self.log(service).count(text)

    def wait_until_it_works(self, processors: int = 2) -> None:
        """Wait until the whole path of an alert is up."""
        wait(
            lambda: self.said("processor", "evaluating rules:") >= processors,
            90,
            lambda: self.compose("logs", "--tail=20"),
        )
        wait(lambda: self.said("collector", "watching") > 0, 90, lambda: self.compose("logs", "--tail=20", "collector"))

    def start_victim(self, image: str) -> None:
        """Run a container outside of the cluster."""
        self.daemon.client("run", "--detach", "--init", "--name", VICTIM, "--network", "none", image, "sleep", "3600")

    def act(self, first: int, number: int, pause: float = 0.1) -> None:
        """Read password hashes in the victim several times; each command line has its own mark."""
        loop = 'i=$1; while [ $i -lt $2 ]; do /bin/cat /etc/shadow "/act-$i-"; sleep $3; i=$((i+1)); done'
        numbers = (str(first), str(first + number), str(pause))
        self.daemon.client("exec", VICTIM, "sh", "-c", loop, "sh", *numbers, check=False, timeout=60 + number)

    def syslog(self) -> list[str]:
        """Return the lines that rsyslog wrote."""
        # Not by compose, which takes a second to begin.
        for container in self.containers("rsyslog"):
            read = self.daemon.client("exec", container, "cat", "/var/log/lanner/alerts.log", check=False)
            return read.stdout.splitlines()
        return []

    def topic(self, name: str) -> list[dict[str, Any]]:
        """Return all messages of a JSON topic, each with its key as `_key`."""
        reader = TopicReader(self.connection, self.connection.topic(name), whole=True)
        found, end = [], time.monotonic() + 30
        try:
            while not reader.has_read_all and time.monotonic() < end:
                message = reader.poll(0.2)
                if message is not None:
                    found.append(json.loads(message.value() or b"{}") | {"_key": (message.key() or b"").decode()})
        finally:
            reader.close()
        return found

    def end(self) -> None:
        """Remove everything; stopping the daemon removes what compose can't."""
        with suppress(AssertionError, subprocess.TimeoutExpired):
            self.compose(*PROFILES, "down", "--volumes", "--timeout", "5")


def wait(condition: Callable[[], object], seconds: float, otherwise: Callable[[], object] = lambda: "") -> None:
    """Wait for a condition; on a timeout, show the result of `otherwise`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.5)
