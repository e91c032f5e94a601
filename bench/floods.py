"""Measure what one user's flood costs others: python -m bench.floods [OPTIONS] [KIND...].

During each flood, another user reads a file and runs a program five times a second, each with a rule of its own. The
results are how many of these raise an alert, how many events are lost, and how much is written. It fails if any of
these actions raises none, whatever the reason of the loss.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from bench.running import HERE, Running, lanner_run
from tests.adversary.host.watched import HONEST_RULES, Honest, marks_of

LIVING = ("plain", "create", "dots", "denied", "varied", "chdir", "alert", "exec", "connect")
CHURNS = {"long": 100, "deep": 150, "exec": 32, "connect": 32, "fork": 32}
"""By kind, how many actions a process performs until another takes its place."""
PROCESSES, CHURN_PROCESSES = (1, 2), (2, 16, 64)
USERS = (1, 16)
"""Users to whom these processes belong."""
HEADINGS = (
    "| flood | processes | actions of each | users | actions/s | reads reported | executions reported "
    "| losses of others | own losses | alerts | MB | losses reported | CPU | MiB |"
)
SHIPPED = HERE.parent / "rules" / "lanner_rules.yaml"
OWN_LOSSES = frozenset({"events_over_share", "lifecycle_over_share"})
"""Losses of a user who holds more than a user's share of a ring."""
_DRAIN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Flood:
    """What processes of so many users (0: root) do; each ends after so many actions, unless that is 0."""

    kind: str
    processes: int
    actions: int = 0
    users: int = 1

    def command(self, seconds: int) -> list[str]:
        """Return the command that does it for so long."""
        return [str(flood_program()), *map(str, (self.kind, seconds, self.processes, self.actions, self.users))]


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


def measure(flood: Flood, seconds: int, rules: Sequence[str]) -> tuple[str, int]:
    """Run one flood; return a row of the table and how many actions of others raised no alert."""
    with tempfile.TemporaryDirectory(prefix="lanner-bench-") as folder:
        own_rules = Path(folder) / "honest.yaml"
        own_rules.write_text(HONEST_RULES, encoding="utf-8")
        honest = Honest(Path(folder), "bench")
        with lanner_run(Path(folder), [*rules, str(own_rules)]) as running:
            lines: list[bytes] = []
            reader = Thread(target=collect, args=(running, lines))
            reader.start()
            cpu = running.cpu_seconds()
            with honest, subprocess.Popen(flood.command(seconds), stdout=subprocess.PIPE) as process:
                done = int(process.communicate()[0])
            cpu = running.cpu_seconds() - cpu
            memory = running.memory_mib()
            until = time.monotonic() + _DRAIN_SECONDS
            missing = honest.marks
            while missing and time.monotonic() < until:
                time.sleep(0.2)
                missing = honest.marks - marks_of(line.decode() for line in list(lines))
            running.process.terminate()
            running.process.wait()
            reader.join()
    alerts = [json.loads(line) for line in lines]
    counts = Counter(alert["rule"] for alert in alerts)
    lost = losses(alerts)
    others = sum(number for reason, number in lost.items() if reason not in OWN_LOSSES)
    own = sum(lost.values()) - others
    made = len(honest.marks) // 2
    reported = [made - sum(each.startswith(f"Honest {what}") for each in missing) for what in ("file", "program")]
    cells = (
        *(flood.kind, f"{flood.processes}", f"{flood.actions or 'all'}", f"{flood.users}", f"{done / seconds:,.0f}"),
        *(f"{number} of {made}" for number in reported),
        *(f"{others:,}", f"{own:,}", f"{len(alerts):,}"),
        *(f"{sum(map(len, lines)) / 1e6:.2f}", f"{counts['Lanner internal: events lost']}"),
        *(f"{cpu / seconds:.0%}", f"{memory:.0f}"),
    )
    return f"| {' | '.join(cells)} |", len(missing)


def losses(alerts: list[dict[str, object]]) -> Counter[str]:
    """Sum the losses, by reason."""
    found: Counter[str] = Counter()
    for alert in alerts:
        fields = alert.get("output_fields")
        if alert["rule"] == "Lanner internal: events lost" and isinstance(fields, dict):
            found.update({name: value for name, value in fields.items() if isinstance(value, int) and "." not in name})
    return found


def floods(kinds: Sequence[str], processes: Sequence[int]) -> Iterator[Flood]:
    """Yield the floods of some kinds, or of all."""
    for kind in LIVING:
        if not kinds or kind in kinds:
            users = 0 if kind == "alert" else 1
            yield from (Flood(kind, number, 0, users) for number in processes or PROCESSES)
    for kind, actions in CHURNS.items():
        if not kinds or kind in kinds:
            chosen = [number for number in CHURN_PROCESSES if not processes or number in processes]
            yield from (Flood(kind, number, actions, users) for number in chosen for users in USERS if users <= number)


def main(words: Sequence[str] = ()) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rules", action="append", default=[])
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--processes", type=int, action="append")
    parser.add_argument("kinds", nargs="*", default=[])
    options = parser.parse_args(words)
    print(f"{HEADINGS}\n|{'---|' * (HEADINGS.count('|') - 1)}")
    missing = 0
    for flood in floods(options.kinds, options.processes or ()):
        row, number = measure(flood, options.seconds, options.rules or [str(SHIPPED)])
        missing += number
        print(row, flush=True)
    if missing:
        sys.exit(f"{missing} actions of others raised no alert")


if __name__ == "__main__":
    main(sys.argv[1:])
