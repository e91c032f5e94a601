"""The kernel as a stream of records: who sleeps is woken."""

import subprocess
import time
from pathlib import Path

from collector.bpf.program import RingSizes
from collector.kernel_feed import KernelFeed


def test_who_sleeps_is_woken_by_what_is_sent(tmp_path: Path) -> None:
    """Though nothing wakes who looks by itself: the first record of each sleep does."""
    feed = KernelFeed.open(("openat",), tmp_path, RingSizes())
    path = tmp_path / "opened"
    path.touch()
    try:
        for _ in range(3):
            with subprocess.Popen(["sh", "-c", f"sleep 0.2; cat {path}"]):
                deadline = time.monotonic() + 20
                while not any(bytes(path) in record for record in feed.read()):
                    assert time.monotonic() < deadline
                    assert feed.wait(20)
    finally:
        feed.close()
