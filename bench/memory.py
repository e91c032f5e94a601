"""Measure the RSS of a loaded collector, and what it consists of.

    python -m bench.memory [MINUTES]

It starts a broker and `lanner collector` with the shipped rules, and runs workloads of `bench.live` in turn: opens that
make events, of one file and of many, program starts, connections. It prints the memory ten times.
"""

import sys
import tempfile
import time
from pathlib import Path

from bench.day import collector
from bench.running import nanoseconds, running_broker, topics_on

MINUTES = 5.0
TIMES = 10
_LOOPS = {"watched": 20_000, "various": 20_000, "forkexec": 200, "connect": 2_000}
_REST_SECONDS = 1.0


def main(minutes: float = MINUTES) -> None:
    """Print one line at the start and ten more."""
    with (
        tempfile.TemporaryDirectory() as name,
        running_broker(Path(name) / "kafka") as broker,
        collector(topics_on(broker, 1), Path(name)) as pid,
    ):
        _report(pid, "at the start")
        for number in range(1, TIMES + 1):
            _load(60 * minutes / TIMES)
            _report(pid, f"{minutes * number / TIMES:.1f} min")


def _load(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for kind, count in _LOOPS.items():
            nanoseconds(kind, count)
        time.sleep(_REST_SECONDS)


def _report(pid: int, when: str) -> None:
    of_maps: dict[str, int] = {}
    name = ""
    for row in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        first, *rest = row.split()
        if not first.endswith(":"):
            name = rest[4] if len(rest) > 4 else ""
        elif first == "Rss:":
            kind = "rings" if "bpf-map" in name else "own" if not name.startswith("/") else "programs and libraries"
            of_maps[kind] = of_maps.get(kind, 0) + int(rest[0])
    parts = ", ".join(f"{kind} {size / 1024:.1f}" for kind, size in sorted(of_maps.items()))
    print(f"{when:<13} {sum(of_maps.values()) / 1024:5.1f} MiB resident: {parts}", flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
