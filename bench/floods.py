"""Measure what one user's flood costs others: python -m bench floods [--rules DIRECTORY] [--seconds N] [KIND...].

During each flood, `cat /etc/shadow` runs once a second. The results are how many of these raise an alert, how many
events of other processes are lost, and how much is written.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

from bench.running import HERE, Running, lanner_run

KINDS = ("plain", "create", "dots", "denied", "varied", "chdir", "alert", "exec", "connect")
HEADINGS = (
    *("flood", "processes", "acts/s", "losses of others", "own losses", "cat reported", "alerts", "MB"),
    *("losses reported", "CPU", "MiB"),
)
OWN_LOSSES = frozenset({"events_over_share", "lifecycle_over_share"})
"""Losses that a process causes to itself alone."""


def flood_program() -> Path:
    """Compile the flood program."""
    target = Path(sys.prefix) / "lanner-bench-flood"
    subprocess.run(["gcc", "-O2", "-w", "-o", str(target), str(HERE / "flood.c")], check=True)
    return target


def collect(running: Running, lines: list[bytes]) -> None:
    """Collect alert lines until the end of the output."""
    assert running.process.stdout is not None
    while chunk := running.process.stdout.readline():
        lines.append(chunk)


def measure(kind: str, processes: int, seconds: int, rules: Sequence[str]) -> str:
    """Run one flood; return a row of the table."""
    with tempfile.TemporaryDirectory(prefix="lanner-bench-") as folder, lanner_run(Path(folder), rules) as running:
        lines: list[bytes] = []
        reader = Thread(target=collect, args=(running, lines))
        reader.start()
        cpu = running.cpu_seconds()
        flood = subprocess.Popen([flood_program(), kind, str(seconds), str(processes)], stdout=subprocess.PIPE)
        for _ in range(seconds):
            subprocess.run(["/bin/cat", "/etc/shadow"], check=True, stdout=subprocess.DEVNULL)
            time.sleep(1)
        done = int(flood.communicate()[0])
        cpu = running.cpu_seconds() - cpu
        memory = running.memory_mib()
        running.process.terminate()
        running.process.wait()
        reader.join()
        alerts = [json.loads(line) for line in lines]
    counts = Counter(alert["rule"] for alert in alerts)
    shadow = sum("cat /etc/shadow" in alert["output"] and "REPEATED" not in alert["output"] for alert in alerts)
    lost = losses(alerts)
    others = sum(number for reason, number in lost.items() if reason not in OWN_LOSSES)
    own = sum(lost.values()) - others
    size = sum(map(len, lines)) / 1e6
    cells = (
        *(kind, f"{processes}", f"{done / seconds:,.0f}", f"{others:,}", f"{own:,}", f"{shadow} of {seconds}"),
        *(f"{len(alerts):,}", f"{size:.2f}", f"{counts['Lanner internal: events lost']}"),
        *(f"{cpu / seconds:.0%}", f"{memory:.0f}"),
    )
    return f"| {' | '.join(cells)} |"


def losses(alerts: list[dict[str, object]]) -> Counter[str]:
    """Sum the losses, by reason."""
    found: Counter[str] = Counter()
    for alert in alerts:
        fields = alert.get("output_fields")
        if alert["rule"] == "Lanner internal: events lost" and isinstance(fields, dict):
            found.update({name: value for name, value in fields.items() if isinstance(value, int) and "." not in name})
    return found


def main(words: Sequence[str] = ()) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rules", action="append", default=[])
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--processes", type=int, action="append")
    parser.add_argument("kinds", nargs="*", default=[])
    options = parser.parse_args(words)
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    for kind in options.kinds or KINDS:
        for processes in options.processes or (1, 2):
            print(measure(kind, processes, options.seconds, options.rules), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
