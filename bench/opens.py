"""Measure opens that no rule matches, and calls that no rule needs: `python -m bench.opens [RULES...]`.

It takes the lowest processor time of many short runs, alternating without and with Lanner. That is accurate even on a
busy machine, whereas `slowdown` shows what a user of that machine would see. The default is the shipped rules.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.running import HERE, lanner_run

KINDS = ("absolute", "relative", "getppid", "readwrite")
ROUNDS = 5
RUNS, OPERATIONS = "150", "2000"


def main(rules: list[str]) -> None:
    """Print a row for each kind."""
    alone: dict[str, list[float]] = {kind: [] for kind in KINDS}
    watched: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "least"
        subprocess.run(["gcc", "-O2", "-o", program, HERE / "least.c"], check=True)
        for _ in range(ROUNDS):
            _measure(program, alone)
            with lanner_run(Path(folder), rules, alerts=False):
                _measure(program, watched)
    print(f"{'kind':<10} {'without':>9} {'with':>9} {'ratio':>6}   of each round")
    for kind in KINDS:
        least, most = min(alone[kind]), min(watched[kind])
        each = " ".join(f"{b / a:.2f}" for a, b in zip(alone[kind], watched[kind], strict=True))
        print(f"{kind:<10} {least:>7.0f}ns {most:>7.0f}ns {most / least:>6.2f}   {each}", flush=True)


def _measure(program: Path, into: dict[str, list[float]]) -> None:
    for kind, found in into.items():
        done = subprocess.run([program, kind, RUNS, OPERATIONS], capture_output=True, text=True, check=True)
        found.append(float(done.stdout))


if __name__ == "__main__":
    main(sys.argv[1:])
