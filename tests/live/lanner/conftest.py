"""What these tests start from."""

import os
from pathlib import Path

import pytest

from tests.live.lanner.watching import RULES
from tests.live.needs import lacking


@pytest.fixture(autouse=True)
def _root() -> None:
    """Skip what an ordinary user can't do."""
    if os.geteuid() != 0:
        lacking("live detection needs root")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Write a rule file about files that nobody else opens."""
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path
