from pathlib import Path

import pytest

from tests.fuzz.properties import TARGETS
from tests.fuzz.running import fuzz

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("target", TARGETS)
def test_ten_minutes_of_fuzzing_find_nothing(target: str, tmp_path: Path) -> None:
    """For each type of text that others write for Lanner."""
    done = fuzz([target], 600, tmp_path)

    assert done.returncode == 0, done.stderr[-4000:]
