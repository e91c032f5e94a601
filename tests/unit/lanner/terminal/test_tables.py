import os
import pty
import subprocess
import sys

import pytest

_PROGRAM = """
import sys
from rich.text import Text
from lanner.terminal.tables import print_table
rows = [("web-1", Text("3s ago, silent", style="bold red"), ""), ("日本 \\x1b[1m", Text(""), Text("1", style="yellow"))]
print_table(("HOST", "SEEN", "LOST"), rows * int(sys.argv[1]))
"""


def _piped(times: int) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(times)], capture_output=True, check=True, text=True
    ).stdout.splitlines()


def _on_a_terminal(times: int, **environment: str) -> list[str]:
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(times)], stdout=its, env={**os.environ, "TERM": "xterm", **environment}
    )
    os.close(its)
    read = b""
    try:
        while chunk := os.read(ours, 65536):
            read += chunk
    except OSError:
        # The program has closed its side.
        assert process.wait() == 0
    os.close(ours)
    return read.decode().replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize("environment", [None, {}, {"NO_COLOR": "1"}])
def test_a_long_table_looks_like_a_short_one(environment: dict[str, str] | None) -> None:
    """The library draws a short one; it would take seconds for the hosts of a large fleet."""
    short, long = (_piped(each) if environment is None else _on_a_terminal(each, **environment) for each in (1, 300))
    head = len(short) - 2 - (environment is not None)
    assert long[: head + 2] == short[: head + 2]
    assert long == [*short[:head], *short[head : head + 2] * 300, *short[head + 2 :]]
    assert any("web-1" in line for line in short)
