"""Measure what it costs to know what programs are: `python -m bench.programs [ROUNDS [RULES]]`, as root.

Three `lanner run` beside each other: with the shipped rules; with one rule more, about every start; and with one that
uses proc.exe.origin and proc.script.origin of every start, or with the rules of a file instead of that. All see the
same events, so that other work on the machine is the same for all: ordinary work (git, make and gcc, tools, scripts),
whose first round meets programs that no earlier run looked up, and copies of a program, each of which is new.
Processor time is that of all processes of each, look-ups included.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.ordinary import SCRIPT
from bench.running import HERE, cpu_seconds, lanner_command, rss_mib, started
from tests.live import ordinary_work as work

RULE = """
- rule: Start of dropped program
  desc: A program or script that no package brought was started.
  condition: >
    evt.type in (execve, execveat) and (proc.exe.origin = dropped or proc.script.origin = dropped) and proc.name = none
  output: "%proc.exe.sha256 %proc.script.sha256"
  priority: NOTICE
"""
STARTS = """
- rule: Start
  desc: A program was started.
  condition: >
    evt.type in (execve, execveat) and (proc.pname = none or proc.cwd = none) and proc.name = none
  output: "%proc.pname %proc.cwd"
  priority: NOTICE
"""
COPIES = 200
_DRAIN_SECONDS = 1.5


def main(rounds: str = "5", rules: str = "") -> None:
    """Print a line for each kind of work."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        added = Path(name, "added.yaml")
        starts = Path(name, "starts.yaml")
        starts.write_text(STARTS, encoding="utf-8")
        added.write_text(Path(rules).read_text(encoding="utf-8") if rules else RULE, encoding="utf-8")
        shipped = str(HERE.parent / "rules/lanner_rules.yaml")
        pids = []
        for number, files in enumerate(([shipped], [shipped, str(starts)], [shipped, str(added)])):
            folder = Path(name, str(number))
            folder.mkdir()
            command = lanner_command(folder, files, (f"memory.filename={folder}/state",))
            pids.append(
                stack.enter_context(
                    started(command, folder / "messages", "watching", stdout=subprocess.DEVNULL)
                ).process.pid
            )
        time.sleep(2 * _DRAIN_SECONDS)

        def taken(act: Callable[[], object]) -> list[float]:
            before = [cpu_seconds(pid) for pid in pids]
            act()
            time.sleep(_DRAIN_SECONDS)
            return [cpu_seconds(pid) - past for pid, past in zip(pids, before, strict=True)]

        def ordinary() -> None:
            with tempfile.TemporaryDirectory() as folder:
                for each in (work.use_git, work.use_make_and_gcc, work.use_tools):
                    each(Path(folder))
                for _ in range(10):
                    subprocess.run(["sh", "-c", SCRIPT], capture_output=True, check=False)

        def copies() -> None:
            with tempfile.TemporaryDirectory() as folder:
                for number in range(COPIES):
                    copy = shutil.copy("/usr/bin/true", f"{folder}/{number}")
                    subprocess.run([copy], check=True)
                    time.sleep(0.02)

        _print("ordinary work, first round", [taken(ordinary)])
        _print(f"ordinary work, {rounds} rounds", [taken(ordinary) for _ in range(int(rounds))])
        _, without, using = taken(copies)
        print(f"{1000 * (using - without) / COPIES:.1f} ms a copy of /usr/bin/true that is new")
        print(f"{rss_mib(pids[0]):.0f} MiB without, {rss_mib(pids[-1]):.0f} with")


def _print(what: str, found: list[list[float]]) -> None:
    """Print the sums of rounds, and by how much each rule increases them, with the least and the most of a round."""
    shipped, starts, using = (sum(each) for each in zip(*found, strict=True))
    ratios = [each[-1] / each[1] for each in found]
    print(
        f"{what}: {shipped:.2f} s with the shipped rules, {starts:.2f} s with a rule about starts, {using:.2f} s with "
        f"origins: {using / shipped:.2f} and {using / starts:.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
