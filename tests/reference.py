"""Reference material about Falco, Kubernetes and ECS, which is not part of this repository.

It is read from $LANNER_SHARED_DIR, else from ../shared beside the checkout; Falco's cases, and the rule files and
captures beside them, from $LANNER_CONFORMANCE_DIR if that is set. Tests that lack it are skipped, whether or not CI is
set, and one line at the end counts them; with LANNER_REQUIRE_SHARED=1, they fail.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ABSENT = "reference material is not here: "
CASES = {
    "evtgen": 364,
    "evttypes": 73,
    "field_extract": 255,
    "filter_eval": 230,
    "filters": 522,
    "format": 37,
    "matches": 1096,
    "rule_selection": 7,
    "rules_load": 126,
}
"""How many cases each of Falco's files has at least."""


def shared_dir() -> Path:
    """Return the folder of reference material, which may not exist."""
    return Path(os.environ.get("LANNER_SHARED_DIR") or ROOT.parent / "shared")


def conformance_dir() -> Path:
    """Return the folder of Falco's case files, which may not exist."""
    return Path(os.environ.get("LANNER_CONFORMANCE_DIR") or shared_dir() / "conformance" / "cases")


def is_required() -> bool:
    """Return whether missing material is a failure."""
    return os.environ.get("LANNER_REQUIRE_SHARED") == "1"


def needs(path: Path) -> pytest.MarkDecorator:
    """Skip a test if this material is missing and not required."""
    return pytest.mark.skipif(not path.exists() and not is_required(), reason=f"{ABSENT}{path}")


def present(path: Path) -> Path:
    """Return the path; skip or fail the running test if it is missing."""
    if not path.exists():
        (pytest.fail if is_required() else pytest.skip)(f"{ABSENT}{path}")
    return path


def is_left_out(report: pytest.TestReport) -> bool:
    """Return whether a test was skipped because reference material is missing."""
    return report.skipped and isinstance(report.longrepr, tuple) and ABSENT in report.longrepr[2]


def summary(left_out: Sequence[pytest.TestReport]) -> str:
    """Return a line that counts the cases left out, and states where they would be."""
    paths = {Path(report.longrepr[2].partition(ABSENT)[2]) for report in left_out if isinstance(report.longrepr, tuple)}
    cases = sum(CASES.get(path.stem, 0) for path in paths)
    return (
        f"left out for lack of reference material: {len(left_out)} tests, with {cases:,} cases of Falco's; "
        f"it would be in {shared_dir()} (LANNER_SHARED_DIR)"
    )
