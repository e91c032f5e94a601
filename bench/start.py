"""Measure the start of `lanner run`, also beside that of another version, and the verifier's work for each program.

    python -m bench.start [CHECKOUT...] [--rounds N]

Each round starts `lanner run` with its built-in rules in this checkout and in each other one, and starts programs that
raise an alert until the first is reported. All figures are those of all its processes: the processor time until then,
and the memory three seconds later. The first start in a checkout, which may compile, doesn't count. Each line has the
median of the rounds and, in parentheses, the lowest and its ratio to that of this checkout.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.latency import acting
from bench.running import HERE, lanner_command, pss_mib, rss_mib
from collector.bpf.build import compiled
from collector.bpf.program import RingSizes, load

ROUNDS = 5
_SETTLE_SECONDS = 3.0
_FIGURES = ("s to the first alert", "s of processor time", "MiB RSS", "MiB PSS")


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(prog="python -m bench.start")
    parser.add_argument("others", nargs="*", type=Path, metavar="CHECKOUT", help="other versions")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    checkouts = [HERE.parent, *options.others]
    found: dict[Path, list[tuple[float, ...]]] = {each: [] for each in checkouts}
    for each in checkouts:
        _start(each)
    for _ in range(options.rounds):
        for each in checkouts:
            found[each].append(_start(each))
    for each in checkouts:
        print(each)
        for index, name in enumerate(_FIGURES):
            own, first = ([figures[index] for figures in found[one]] for one in (each, checkouts[0]))
            print(f"  {statistics.median(own):6.2f} {name} ({min(own):.2f}; {min(own) / min(first):.2f})")
    for name, instructions in _verified():
        print(f"{name:<20} the verifier followed {instructions:>8,} instructions")


def _start(checkout: Path) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with acting(lanner_command(folder), folder / "messages", cwd=checkout) as (running, actions):
            start = actions.first()
            used = running.cpu_seconds()
            time.sleep(_SETTLE_SECONDS)
            pid = running.process.pid
            return start, used, rss_mib(pid), pss_mib(pid)


def _verified() -> Iterator[tuple[str, int]]:
    with tempfile.TemporaryDirectory() as folder:
        program, loaded = load(compiled(Path(folder)), RingSizes())
    total = 0
    for name, descriptor in loaded.items():
        facts = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines()
        followed = next(int(row.split()[1]) for row in facts if row.startswith("verified_insns"))
        yield name, followed
        total += followed
        os.close(descriptor)
    program.close()
    yield "all", total


if __name__ == "__main__":
    main()
