"""Fixtures of the live tests: real programs, a real Docker daemon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.errors import EnvironmentUnsupported
from tests.live import compiled
from tests.live.compiled import Programs
from tests.live.containerd import Containerd, NoContainerd
from tests.live.containers import Docker
from tests.live.dockerd import Dockerd, NoDocker
from tests.live.needs import lacking
from tests.live.podman import NoPodman, Podman
from tests.live.watching import Watch


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """Run the session's own Docker daemon."""
    try:
        daemon = Dockerd().__enter__()
    except NoDocker as missing:
        lacking(str(missing))
    try:
        yield Docker(daemon)
    finally:
        daemon.close()


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Return test programs in C, compiled on first use."""
    return Programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """Provide the session's own Podman storage."""
    try:
        made = Podman()
    except NoPodman as missing:
        lacking(str(missing))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def containerd() -> Iterator[Containerd]:
    """Run the session's own containerd with its CRI plugin."""
    try:
        daemon = Containerd().__enter__()
    except NoContainerd as missing:
        lacking(str(missing))
    try:
        yield daemon
    finally:
        daemon.close()


@pytest.fixture(scope="session")
def bytecode() -> Path:
    """Return the folder of the compiled eBPF program."""
    return compiled.bytecode()


@pytest.fixture(scope="module")
def watch(docker: Docker, bytecode: Path) -> Iterator[Watch]:
    """Watch this machine with the shipped rules, including the kernel's filter."""
    try:
        watching = Watch(docker.socket, bytecode).__enter__()
    except EnvironmentUnsupported as missing:
        lacking(missing.reason)
    try:
        yield watching
    finally:
        watching.__exit__(None, None, None)
