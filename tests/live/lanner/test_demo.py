from pathlib import Path

import pytest

from tests.unit.lanner.program import fresh as lanner

pytestmark = pytest.mark.live


def test_a_demo_detects_its_actions_again_at_once_and_leaves_no_state(tmp_path: Path) -> None:
    """One action of a rule that one event decides, and one of a rule that counts within a minute."""
    memory = tmp_path / "memory"
    only = ("--only", "Read sensitive file untrusted", "--only", "Many files refused")
    for _ in range(2):
        done = lanner("demo", *only, "-o", f"memory.filename={memory}")

        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("✓") == 2

    assert list(tmp_path.iterdir()) == []
