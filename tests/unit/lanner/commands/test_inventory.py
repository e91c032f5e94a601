import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "lanner", "inventory", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--container", "no\x1bsuch"), 1, "no such container has processes here"),
        (("--output", "/no/such/bom.json"), 1, "/no/such/bom.json: can't be written: no such folder."),
        (("--vulnerabilities", "/no/such.json"), 1, "/no/such.json: No such file or directory."),
        (("--observe", "5x"), 1, "--observe: '5x' is not a valid duration"),
        (("--format", "table", "--output", "x"), 2, "--output goes with --format json."),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[str, ...], code: int, message: str) -> None:
    """Before processes are observed, and without a traceback."""
    done = run("--observe", "1h", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="root gives up its capabilities")
def test_processes_that_can_not_be_read_are_counted() -> None:
    """Such as those with more capabilities; the others are listed all the same."""
    bare = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")
    with subprocess.Popen((*bare, "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reading:
        assert reading.stdin is not None
        assert reading.stdout is not None
        reading.stdin.write(b"started\n")
        reading.stdin.flush()
        reading.stdout.readline()
        command = [*bare, sys.executable, "-m", "lanner", "inventory"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        reading.stdin.close()
    assert "can't be read by this user." in done.stderr
    components = json.loads(done.stdout)["components"]
    files = [each["value"] for component in components for each in component.get("properties", ())]
    assert str(Path("/bin/cat").resolve()) in files
