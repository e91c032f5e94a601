"""What the tests of this folder start from: a real kernel, a real `lanner run`, and a user without rights."""

import os

import pytest

from tests.live.conftest import bytecode, programs
from tests.live.needs import lacking

__all__ = ["bytecode", "programs"]


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    """Skip what an ordinary user can't start."""
    if os.geteuid() != 0:
        lacking("live detection needs root")
