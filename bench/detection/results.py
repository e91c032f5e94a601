"""The stored results: of each test with each set of rules, and what each set costs."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.yaml import mappings
from foundation.yaml.mappings import MappingReader
from foundation.yaml.nodes import SourceFile
from foundation.yaml.reading import read_documents
from lanner.prove.grades import Status

RESULTS = Path(__file__).with_name("results.json")
REASONS = Path(__file__).with_name("reasons.yaml")
GRADES = ("alert", "common", "discovery", "builtin")
SETS = ("Lanner", "Lanner, all rules", "Falco, stable", "Falco, all files")
"""The sets of rules, the default one first."""
PROVE = ("chrt", "--reset-on-fork", "--rr", "1", sys.executable, "-m", "lanner", "prove")
"""Runs steps, and gets the processor before what it watches does: a reader that waits for its turn loses events."""
DETECTED: tuple[Status, ...] = ("alert", "technique")


@dataclass(frozen=True, slots=True)
class SetCost:
    """What one set of rules costs in the whole run."""

    rules: int
    events: int
    """Those that the kernel would send for these rules."""
    seconds: float
    """CPU time of their evaluation, s."""
    alerts: int
    nothing: int
    """Rules that alerted on a command that does nothing."""


@dataclass(frozen=True, slots=True)
class ProvenTest:
    """What each set of rules found of one test."""

    guid: str
    technique: str
    name: str
    grade: str
    statuses: tuple[Status, ...]
    """By set; neither alerts below Notice count nor those of rules that report a command that does nothing."""
    reason: str
    """Why it did not run."""
    rules: tuple[str, ...]
    """The rules of the default set that alerted at Notice or above, such as `Write job (Warning) x2`."""
    unexplained: tuple[str, ...] = ()
    """What these alerts name that the test's text does not."""

    @property
    def ran(self) -> bool:
        """Whether it ran."""
        return self.statuses[0] != "not run"

    def is_detected(self, of: int = 0) -> bool:
        """Return whether a set of rules raised an alert."""
        return self.statuses[of] in DETECTED


@dataclass(frozen=True, slots=True)
class Results:
    """One run."""

    date: str
    kernel: str
    lost: int
    """Events that the collector lost meanwhile."""
    costs: tuple[SetCost, ...]
    tests: tuple[ProvenTest, ...]

    @property
    def undetected(self) -> tuple[ProvenTest, ...]:
        """The tests that ran and ought to alert, and do not by default."""
        return tuple(test for test in self.tests if test.grade == "alert" and test.ran and not test.is_detected())


def read_results(path: Path = RESULTS) -> Results:
    """Read what write_results wrote. Raises OSError, ValueError."""
    stated = json.loads(path.read_text())
    tests = tuple(
        ProvenTest(**{name: tuple(stated) if isinstance(stated, list) else stated for name, stated in each.items()})
        for each in stated["tests"]
    )
    return Results(**{**stated, "costs": tuple(SetCost(**each) for each in stated["costs"]), "tests": tests})


def write_results(results: Results, path: Path = RESULTS) -> None:
    """Write them, a line for each test, so that a change can be read. Raises OSError."""
    stated: dict[str, Any] = dataclasses.asdict(results)
    parts = [f' "{name}": {json.dumps(stated[name])}' for name in ("date", "kernel", "lost")]
    for name in ("costs", "tests"):
        lines = ",\n".join(f"  {json.dumps(each, ensure_ascii=False)}" for each in stated[name])
        parts.append(f' "{name}": [\n{lines}\n ]')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def read_reasons(path: Path = REASONS) -> dict[str, str]:
    """Return why tests are not detected, by GUID. Raises OSError, YamlError, BadMapping."""
    (document,) = read_documents(SourceFile(str(path), path.read_text()))
    return {guid: mappings.text(node, guid) for guid, node in MappingReader(document, "the reasons").pairs().items()}
