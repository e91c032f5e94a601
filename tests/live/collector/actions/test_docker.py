"""The actions on a container of a real runtime: its naming, its layers and its capabilities."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.actions.effect import ActionRefused
from collector.actions.evidence import EvidenceCollection
from collector.actions.files import Quarantine
from collector.actions.network import NetworkIsolation
from collector.actions.processes import BootOffsets
from tests.live.collector.actions.container import intent
from tests.live.containers import Docker


@pytest.fixture
def name(docker: Docker) -> Iterator[str]:
    """Start a container with Docker's usual capabilities and a network of its own."""
    name = f"acted-on-{uuid.uuid4().hex[:8]}"
    docker.daemon.client("run", "-d", "--rm", "--name", name, "--network", "none", docker.busybox(), "sleep", "300")
    yield name
    docker.daemon.client("rm", "-f", name)


def test_a_container_of_docker_is_a_target(docker: Docker, name: str, tmp_path: Path) -> None:
    """A program in its layers, its network, and all its processes."""
    identifier = docker.daemon.client("inspect", "-f", "{{.Id}}", name).stdout.strip()
    docker.exec(name, "sh", "-c", "cp /bin/busybox /tmp/x; chmod 4755 /tmp/x")

    files = Quarantine(tmp_path)
    for path in ("/tmp/x", "/etc/group"):
        what = intent("quarantine", "program", lease=0, container_id=identifier, path=path)
        effect = files.do(what)
        assert docker.exec(name, "ls", path) == ""
        assert files.undo(what, effect.undo) == f"restored {path}"
    assert docker.exec(name, "ls", "-l", "/tmp/x").startswith("-rwsr-xr-x")
    with pytest.raises(ActionRefused, match="something is mounted over it"):
        files.do(intent("quarantine", "file", lease=0, container_id=identifier, path="/etc/hosts"))

    network, what = NetworkIsolation(), intent("isolate", "container", container_id=identifier[:12])
    effect = network.do(what)
    assert effect.text == "isolated the network of the container; only loopback is left"
    assert network.undo(what, effect.undo) == "released its network"

    collect = intent("collect", "container", lease=0, container_id=identifier)
    assert ", of 1 process;" in EvidenceCollection(tmp_path, BootOffsets()).do(collect).text
