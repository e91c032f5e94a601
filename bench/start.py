"""Measure the processor time of a start with a cached program, and the verifier's work for each program.

    python -m bench.start

It uses its own cache, which it fills by compiling once before it measures.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collector.bpf.build import compiled
from collector.bpf.program import RingSizes, load
from collector.kernel_feed import KernelFeed

ROUNDS = 5


def main() -> None:
    """Print medians."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        program_file = compiled(cache)
        print(f"find the kept program:        {_milliseconds(lambda: compiled(cache)):4.0f} ms")
        print(f"load, attach and test:        {_milliseconds(lambda: _open(cache)):4.0f} ms, the above included")
    program, loaded = load(program_file, RingSizes())
    total = 0
    for name, descriptor in loaded.items():
        facts = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines()
        followed = next(int(row.split()[1]) for row in facts if row.startswith("verified_insns"))
        print(f"{name:<20} the verifier followed {followed:>8,} instructions")
        total += followed
        os.close(descriptor)
    print(f"{'all':<20} {total:>30,}")
    program.close()


def _open(cache: Path) -> None:
    KernelFeed.open(("openat",), cache, RingSizes()).close()


def _milliseconds(act: Callable[[], Any]) -> float:
    """Return the median processor time, including the kernel's on this process's behalf."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        act()
        taken.append(1000 * (time.process_time() - began))
    return statistics.median(taken)


if __name__ == "__main__":
    main()
