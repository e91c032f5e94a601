"""Measure a collector's CPU usage while nothing happens: `python -m bench.idle [SECONDS]`.

Its probes are detached, so that the kernel sends nothing, whatever else the machine does.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from collector.agent import Collector
from collector.settings import CollectorSettings
from lanner.wiring.single_host.pipeline import POLL_SECONDS

SECONDS = 60.0


def main(seconds: float = SECONDS) -> None:
    """Print processor time and the number of wake-ups."""
    with tempfile.TemporaryDirectory() as folder:
        collector = Collector(("openat",), on_batch=lambda _: None, settings=CollectorSettings(cache=Path(folder)))
        collector.start()
        try:
            feed = collector._feed  # noqa: SLF001 (no host is as quiet as one without probes)
            assert feed is not None
            feed._program.detach()  # noqa: SLF001
            collector.poll(1)
            began, cpu, woken = time.monotonic(), time.process_time(), _woken()
            while time.monotonic() - began < seconds:
                collector.poll(POLL_SECONDS)
            taken = time.monotonic() - began
            share = (time.process_time() - cpu) / taken
            print(f"{100 * share:.2f} % of a core, {(_woken() - woken) / taken:.0f} wakes a second")
        finally:
            collector.stop()


def _woken() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
