"""Runs the fuzzer for a limited time in a separate process."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS_AN_INPUT = 20
MEGABYTES = 2048


def fuzz(targets: Sequence[str], seconds: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Fuzz targets, one after another; inputs that break one are stored in the folder, and end it.

    Args:
        targets: some of TARGETS.
        seconds: the duration for each.
        folder: receives the inputs that are found.
    """
    for target in targets:
        (folder / target).mkdir()
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-artifact_prefix={folder}/{{}}-",
        f"-dict={HERE / 'words.dict'}",
        "-max_len=4096",
        "-print_final_stats=1",
    ]
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", ",".join(targets), *options, f"{folder}/{{}}", f"{HERE}/corpus/{{}}"],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=ROOT,
        timeout=seconds * len(targets) + 240,
    )
