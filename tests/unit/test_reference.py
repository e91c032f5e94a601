import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("required", ["", "1"])
def test_a_clone_without_reference_material_passes_unless_it_is_required(required: str) -> None:
    """CI alone doesn't require it, and one line counts what is left out."""
    variables = {"LANNER_SHARED_DIR": "/nowhere", "LANNER_CONFORMANCE_DIR": "", "LANNER_REQUIRE_SHARED": required}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/conformance/test_format.py"],
        env={**os.environ, "CI": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    line = "reference material: 1 tests, with 37 cases of Falco's; it would be in /nowhere (LANNER_SHARED_DIR)"
    assert (done.returncode == 0) is (required == "")
    assert (line in done.stdout) is (required == "")
    assert "SKIPPED" not in done.stdout
