"""Measure the time from a system call to its alert on the standard output of `lanner run`, on an idle host."""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.running import lanner_run

ACTS = 300
_EACH = ("repeated_alerts.enabled=false", "collector.count_repeats=false")
_ACT = """
import random, sys, time
chance = random.Random(1)
for _ in range(int(sys.argv[1])):
    open("/etc/shadow").close()
    time.sleep(chance.uniform(0.02, 0.06))
"""


def main() -> None:
    """Measure, and print median, p99 and maximum."""
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder, lanner_run(Path(folder), settings=_EACH) as running:
        actor = subprocess.Popen([sys.executable, "-I", "-c", _ACT, str(ACTS)])
        delays = []
        for came, line in running.lines(3.0):
            alert = json.loads(line)
            if alert["output_fields"].get("fd.name") == "/etc/shadow":
                delays.append((came - alert["output_fields"]["evt.time"]) / 1e6)
        actor.wait()
        time.sleep(0.1)
    delays.sort()
    print(
        f"{len(delays)} alerts of {ACTS} acts; from system call to line: median {statistics.median(delays):.1f} ms, "
        f"p99 {delays[int(len(delays) * 0.99)]:.1f} ms, max {delays[-1]:.1f} ms"
    )


if __name__ == "__main__":
    main()
