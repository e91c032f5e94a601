"""What the tests of this folder start from: a real kernel, a real `lanner run`, and a user without rights."""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import bytecode, containerd, docker, podman, programs
from tests.live.needs import lacking

__all__ = ["bytecode", "containerd", "docker", "podman", "programs"]


NOBODY = 65534


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    """Skip what an ordinary user can't start."""
    if os.geteuid() != 0:
        lacking("live detection needs root")


@pytest.fixture
def ground() -> Iterator[Path]:
    """Yield a folder that the hostile user may write to, and everybody may reach."""
    folder = Path("/tmp") / f"lanner-adversary-{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)
