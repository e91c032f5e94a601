"""The stored results, and docs/kernels.md, every figure of which comes from them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.kernels.load import SKIPPED_RUNS

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs/kernels.md"
_HEAD = """# Kernels

All kernels load the same compiled eBPF program: where each keeps what the program reads is inserted when it is loaded,
from the kernel's own type information (BTF). `make test-kernels` boots Debian's kernels in virtual machines, one after
another, emulated in software, and writes this page; `ARGS="amd64 bookworm-security cloud"` checks one, and the others'
rows stay.

Under each kernel, Lanner is attached and tests itself, each event type is made once, the kernel's copies of paths are
found, also of a path that changes all the time, operations of io_uring are found with their files (on
amd64). Then Lanner runs with its rules under a load: processes of another user open files, start programs and connect
as fast as they can, while root performs marked actions. Each of these must raise an alert, only events of that other
user may be lost, and Lanner may hold no more memory than `lanner-collector.service` allows (512 MiB). No warning may be
in the kernel's log. `lanner demo` runs as well, unless `--no-demo` is given: the result is then *all passed; demo not
run*.

| kernel | from | checked | result | load | attached in, ms | verified instructions | off |
|---|---|---|---|---|---|---|---|
"""
_TAIL = """
*Load*: the other user's actions per second, marked actions that raised an alert, events lost, runs of programs that the
kernel skipped, the most memory that Lanner held. A skipped run belongs to no user and may be for a call that no rule
needs, so a row passes with any number of them if each marked action raised its alert. A *flood* is from before this was
checked: writes and new processes for so many seconds, after which Lanner alerted. A kernel without a row was not tried.

*Attached in* is from the compiled program to the end of the self-test. Emulation makes it ten to thirty times
slower: these figures only compare kernels.

What may be off, and why:

- **operations of io_uring**: the kernel's structs for its requests differ from those that we know, so that they are
  invisible. Disable it by `sysctl kernel.io_uring_disabled=2`, or use another kernel.
- **terminals of processes**, **login users**, **names of Unix sockets**, **addresses of IPv6 sockets**, **the kernel's
  copies of paths**, **which end of a TCP connection is the server, in calls that neither connect nor accept**: each is
  off where the kernel lacks a member that only this feature reads. The log at start, the check `kernel` of a
  collector's `/readyz` and `lanner doctor` name both.
- **fast reads**: before Linux 6.2, kernel objects are read by calls of a helper, which takes longer. No fact is
  missing.
- **cheap copies of paths**: where a program can't be attached to the kernel's function `putname`, copies are taken when
  the kernel frees an object of any kind. No fact is missing.

Where copies of paths are missing in the result or off, paths come from the program's memory, which its other threads
can change while a call runs. From Linux 7.0 on, copies no longer refer to the program's memory, so a second program
follows the kernel's function `do_getname`, and copies are off where programs can't be attached to functions.

From Linux 7.0 on, a program at a tracepoint can be preempted, and until it goes on and ends, the kernel skips its other
runs on that processor: 2 to 5 % of the marked actions were missing in emulation. So the programs that see calls, starts
and ends are attached twice there, and the second copy does what the first one was skipped for. Runs that both were
skipped for are reported as lost (`recursion_misses`), also those for calls that no rule needs; an event during which
its process is preempted between both may come twice. A call takes 50 ns longer by the second copy, and one that is
reported 100 ns. Disabling preemption in a program would not help: the kernel makes up for that where the program
enables it again, before it ends. Programs that preempt each other build their records in different memory, 120 KiB more
per processor and 75 KiB for second copies, so that no record is of mixed content.

A kernel older than 5.15 (on arm64: 6.0) is refused, and so is one without BTF; `lanner doctor` gives the reason.
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """One kernel, and what was found."""

    kernel: str
    """Its release; the package's name if it did not boot."""
    suite: str
    date: str
    found: Mapping[str, Any]
    """What check.py printed; empty if the guest ended otherwise."""
    console: str = ""
    """The end of the guest's console, if it did."""

    @property
    def result(self) -> str:
        """Return the result in a few words."""
        if not self.found:
            return "the guest ended early: " + (self.console.strip().splitlines() or ["no console"])[-1]
        if "refused" in self.found:
            return f"refused: {self.found['refused']}"
        failed = [f"{step}: {reason}" for step, reason in self.found["steps"].items() if reason]
        return "; ".join(failed) or ("all passed" if "demo" in self.found["steps"] else "all passed; demo not run")

    @property
    def is_arm(self) -> bool:
        """Return whether it is a kernel of arm64."""
        return self.kernel.endswith("arm64")

    @property
    def off(self) -> str:
        """Name what is off."""
        if "attach_ms" not in self.found:
            return ""
        limits = {"fast reads": self.found["is_typed"], "cheap copies of paths": self.found["copies"] == "putname"}
        off = [f"{feature}: {reason}" for feature, reason in self.found.get("off", {}).items()]
        return "; ".join([*off, *(name for name, is_on in limits.items() if not is_on)]) or "nothing"


def read_results(path: Path = RESULTS) -> list[Checked]:
    """Read the stored results."""
    return [Checked(**each) for each in json.loads(path.read_text())]


def write_results(results: Sequence[Checked], path: Path = RESULTS) -> None:
    """Store results."""
    path.write_text(json.dumps([dataclasses.asdict(each) for each in results], indent=1) + "\n")


def _loaded(load: Mapping[str, Any]) -> str:
    """Return the cell about a load."""
    made, skipped = sum(load["made"].values()) / load["seconds"], load["lost"].get(SKIPPED_RUNS, 0)
    alerted, lost = f"{load['alerted']} of {load['marked']} alerts", sum(load["lost"].values()) - skipped
    losses = f"{lost:,} lost" + (f", {skipped:,} runs skipped" if skipped else "")
    return f"{load['seconds']:.0f} s, {made:,.0f}/s; {alerted}; {losses}; {load['memory_mib']} MiB"


def page(results: Sequence[Checked]) -> str:
    """Return the text of docs/kernels.md."""
    text = _HEAD
    for each in results:
        attach, verified, load = each.found.get("attach_ms"), each.found.get("verified"), each.found.get("load")
        row = (
            each.kernel,
            each.suite,
            each.date,
            each.result.replace("|", "\\|").replace("\n", " "),
            _loaded(load) if load else f"flood, {each.found['seconds']} s" if "seconds" in each.found else "",
            "" if attach is None else f"{attach:,}",
            f"{verified:,}" if verified else "",
            each.off,
        )
        text += f"| {' | '.join(row)} |\n"
    return text + _TAIL
