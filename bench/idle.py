"""Measure a collector's CPU usage while nothing happens: `python -m bench.idle [SECONDS]`.

First with its probes attached, which includes what the rest of the machine does, then with its probes detached, so that
the kernel sends nothing.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from collector.agent import Collector
from collector.settings import CollectorSettings
from lanner.wiring.stages.single_host import POLL_SECONDS, REST_SECONDS

SECONDS = 60.0
TYPES = ("execve", "procexit")
"""What `lanner run` always collects."""


def main(seconds: float = SECONDS) -> None:
    """Print a line for each case."""
    with tempfile.TemporaryDirectory() as folder:
        collector = Collector(TYPES, on_batch=lambda _: None, settings=CollectorSettings(cache=Path(folder)))
        collector.start()
        try:
            _measure("attached", collector, seconds)
            feed = collector._feed  # noqa: SLF001 (no host is as quiet as one without probes)
            assert feed is not None
            feed._program.detach()  # noqa: SLF001
            _measure("detached", collector, seconds)
        finally:
            collector.stop()


def _measure(case: str, collector: Collector, seconds: float) -> None:
    """Print processor time and the numbers of wake-ups and events."""
    collector.poll(1)
    began, cpu, woken, events = time.monotonic(), time.process_time(), _woken(), collector.events
    readable, _ = pipe = os.pipe()
    while time.monotonic() - began < seconds:
        collector.poll(0 if collector.rest(REST_SECONDS, readable) else POLL_SECONDS)
    for end in pipe:
        os.close(end)
    taken = time.monotonic() - began
    share = (time.process_time() - cpu) / taken
    print(
        f"{case}: {100 * share:.2f} % of a core, {(_woken() - woken) / taken:.0f} wakes and "
        f"{(collector.events - events) / taken:.1f} events a second"
    )


def _woken() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
