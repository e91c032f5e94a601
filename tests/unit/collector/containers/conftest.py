"""Fixtures of the tests of containers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.needs import lacking
from tests.roots import roots_folder


@pytest.fixture
def roots() -> Iterator[Path]:
    """Provide a folder that only root can change."""
    if os.geteuid() != 0:
        lacking("only root has folders of its own")
    with roots_folder() as folder:
        yield folder
