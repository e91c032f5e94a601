"""Measure how long an action takes, from passing on its intent until the target is frozen or has ended.

    python -m bench.actions [--number N]

As root. It starts `lanner actions serve` with a folder of its own, freezes and thaws a control group that is named like
a container's, with two processes, and kills processes with one child each.
"""

import argparse
import os
import select
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from collector.actions.executor import AT_ONCE
from tests.live.collector.actions.test_executor import Service, freeze, frozen_soon, is_frozen, kill, undo

MOST = AT_ONCE // 2
"""Actions of each type: a host does so many at once."""


def main() -> None:
    """Measure, and print a row for each type of action."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--number", type=int, default=MOST, help=f"actions of each type, at most {MOST}")
    number = min(arguments.parse_args().number, MOST)
    with tempfile.TemporaryDirectory(prefix="act") as folder, closing(Service(Path(folder))) as service:
        print("ACTION  P50 MS  P99 MS  LONGEST MS")
        _print("freeze", _freezes(service, number))
        _print("kill", _kills(service, number))


def _freezes(service: Service, number: int) -> list[float]:
    taken = []
    with frozen_soon() as (one, folder):
        for _ in range(number):
            intent, begun = freeze(one), time.perf_counter()
            service.send(intent)
            while not is_frozen(folder):
                pass
            taken.append(time.perf_counter() - begun)
            service.awaited(intent.id)
            service.result(undo(intent), "undone")
    return taken


def _kills(service: Service, number: int) -> list[float]:
    taken = []
    for _ in range(number):
        with subprocess.Popen(("sh", "-c", "sleep 60 & wait"), start_new_session=True) as process:
            time.sleep(0.05)
            intent, ended = kill(process.pid), os.pidfd_open(process.pid)
            begun = time.perf_counter()
            service.send(intent)
            select.select([ended], [], [])
            taken.append(time.perf_counter() - begun)
            os.close(ended)
            service.awaited(intent.id)
    return taken


def _print(name: str, taken: Sequence[float]) -> None:
    p50, p99 = statistics.median(taken), statistics.quantiles(taken, n=100, method="inclusive")[98]
    print(f"{name:<6}  {p50 * 1e3:6.1f}  {p99 * 1e3:6.1f}  {max(taken) * 1e3:10.1f}")


if __name__ == "__main__":
    main()
