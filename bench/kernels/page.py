"""The stored results, and docs/kernels.md, every figure of which comes from them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs/kernels.md"
_HEAD = """# Kernels

All kernels load the same compiled eBPF program: where each keeps what the program reads is inserted when it is loaded,
from the kernel's own type information (BTF). `make test-kernels` boots Debian's kernels in virtual machines, one after
another, and writes this page. {date}, on {machine}, emulated in software.

Under each kernel, Lanner is attached and tests itself, each event type is made once, the kernel's copies of paths are
found, and Lanner alerts after {seconds} s under a flood of writes and of new processes. No warning may be in the
kernel's log. `lanner demo` runs as well, unless `--no-demo` is given: the result is then *all but the demo passed*.

| kernel | from | result | attached in, ms | verified instructions | off |
|---|---|---|---|---|---|
"""
_TAIL = """
*Attached in* is from the compiled program to the end of the self-test. Emulation makes it ten to thirty times
slower: these figures only compare kernels.

What may be off, and why:

- **operations of io_uring**: the kernel's structs for its requests differ from those that we know, so that they are
  invisible. Disable it by `sysctl kernel.io_uring_disabled=2`, or use another kernel.
- **terminals of processes**, **login users**, **names of Unix sockets**, **addresses of IPv6 sockets**, **the kernel's
  copies of paths**: each is off where the kernel lacks a member of a struct that only this feature reads. The log at
  start, the check `kernel` of a collector's `/readyz` and `lanner doctor` name both.
- **fast reads**: before Linux 6.2, kernel objects are read by calls of a helper, which takes longer. No fact is
  missing.
- **cheap copies of paths**: where a program can't be attached to the kernel's function `putname`, copies are taken when
  the kernel frees an object of any kind. No fact is missing.

Where copies of paths are missing in the result, paths come from the program's memory, which its other threads can
change while a call runs. Linux 7.3 has this gap: its copies no longer refer to the program's memory.

A kernel older than 5.15 (on arm64: 6.0) is refused, and so is one without BTF; `lanner doctor` gives the reason.
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """One kernel, and what was found."""

    kernel: str
    """Its release; the package's name if it did not boot."""
    suite: str
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
        return "; ".join(failed) or ("all passed" if "demo" in self.found["steps"] else "all but the demo passed")

    @property
    def off(self) -> str:
        """Name what is off."""
        if "attach_ms" not in self.found:
            return ""
        limits = {"fast reads": self.found["is_typed"], "cheap copies of paths": self.found["copies"] == "putname"}
        off = [f"{feature}: {reason}" for feature, reason in self.found.get("off", {}).items()]
        return "; ".join([*off, *(name for name, is_on in limits.items() if not is_on)]) or "nothing"


@dataclass(frozen=True, slots=True)
class Results:
    """One run of `make test-kernels`."""

    date: str
    machine: str
    seconds: float
    """How long each kernel was loaded."""
    kernels: Sequence[Checked]


def read_results(path: Path = RESULTS) -> Results:
    """Read the results of the last run."""
    stored = json.loads(path.read_text())
    return Results(**stored | {"kernels": tuple(Checked(**each) for each in stored["kernels"])})


def write_results(results: Results, path: Path = RESULTS) -> None:
    """Store the results of a run."""
    path.write_text(json.dumps(dataclasses.asdict(results), indent=1) + "\n")


def page(results: Results) -> str:
    """Return the text of docs/kernels.md."""
    text = _HEAD.format(date=results.date, machine=results.machine, seconds=f"{results.seconds:.0f}")
    for each in results.kernels:
        attach, verified = each.found.get("attach_ms"), each.found.get("verified")
        row = (
            each.kernel,
            each.suite,
            each.result.replace("|", "\\|").replace("\n", " "),
            "" if attach is None else f"{attach:,}",
            f"{verified:,}" if verified else "",
            each.off,
        )
        text += f"| {' | '.join(row)} |\n"
    return text + _TAIL
