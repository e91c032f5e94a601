"""Runs the fuzzer for a limited time in a separate process."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS_AN_INPUT = 20
MEGABYTES = 2048


def fuzz(target: str, seconds: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Fuzz a target; inputs that break it are stored in the folder.

    Args:
        target: one of TARGETS.
        seconds: the duration.
        folder: receives the inputs that are found.
    """
    found = folder / "corpus"
    found.mkdir()
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-artifact_prefix={folder}/",
        f"-dict={HERE / 'words.dict'}",
        "-max_len=4096",
        "-print_final_stats=1",
    ]
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, *options, str(found), str(HERE / "corpus" / target)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=ROOT,
        timeout=seconds + 120,
    )
