"""Measure the event rate that `lanner run` sustains without losses: opens at a rate that is raised until some are lost.

A rule names the opened file, so that the kernel sends each open; the rule then matches none of them.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.running import lanner_run

SECONDS = 8
RATES = (5_000, 10_000, 20_000, 30_000, 40_000, 60_000, 80_000, 120_000)
_RULE = """
- rule: Never
  desc: Makes the kernel send what this measurement does, and matches none of it.
  condition: evt.type in (open, openat) and fd.name = /etc/hostname and proc.name = nobody-is-called-so
  output: never
  priority: DEBUG
"""
_OPENS = """
import os, sys, time
rate, seconds = int(sys.argv[1]), float(sys.argv[2])
begin = time.monotonic()
done = 0
while (now := time.monotonic() - begin) < seconds:
    while done < now * rate:
        os.close(os.open("/etc/hostname", 0)); done += 1
    time.sleep(0.001)
print(done)
"""


def main() -> None:
    """Measure, and print a row for each rate."""
    for rate in RATES:
        with tempfile.TemporaryDirectory() as folder:
            rules = Path(folder) / "rules.yaml"
            rules.write_text(_RULE, encoding="ascii")
            with lanner_run(Path(folder), [str(rules)]) as running:
                command = [sys.executable, "-I", "-c", _OPENS, str(rate), str(SECONDS)]
                done = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                cpu = running.cpu_seconds() / SECONDS
            rows = [row for row in running.messages().splitlines() if row.startswith(("Events seen", "Events lost"))]
        print(f"{done / SECONDS:>9.0f} opens/s   {100 * cpu:>4.0f} % of a core   {'   '.join(rows)}", flush=True)
        if not any(row.endswith(": 0") for row in rows):
            return


if __name__ == "__main__":
    main()
