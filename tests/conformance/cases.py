"""Cases of Falco's behavior, one test each.

The cases are not part of this repository: tests/reference.py finds them.
known_failures.txt lists known failures with their reasons; these must fail.
"""

import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.reference import conformance_dir, is_required, needs, present

Case = dict[str, Any]

KNOWN_FAILURES = Path(__file__).with_name("known_failures.txt")


def each_case(name: str, left_out: Callable[[Case], str | None] = lambda _: None) -> pytest.MarkDecorator:
    """Run a test once per case of a file, as its argument ``case``.

    Args:
        name: the file's name without ``.jsonl``.
        left_out: returns why a case is skipped; a separate test must count those cases (see count_left_out).
    """
    path = conformance_dir() / f"{name}.jsonl"
    if not path.exists() and not is_required():
        return needs(path)
    return pytest.mark.parametrize("case", [_param(name, case) for case in _cases(path) if left_out(case) is None])


def count_left_out(name: str, left_out: Callable[[Case], str | None]) -> dict[str, int]:
    """Return how many cases of a file a test skips, by reason, so that the number cannot grow unnoticed."""
    path = present(conformance_dir() / f"{name}.jsonl")
    return dict(Counter(reason for case in _cases(path) if (reason := left_out(case))))


def _cases(path: Path) -> list[Case]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _param(name: str, case: Case) -> Any:
    reason = known_failures().get(f"{name}:{case['id']}")
    marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
    return pytest.param(case, id=case["id"], marks=marks)


@cache
def known_failures() -> dict[str, str]:
    """Read the known failures: reasons by file:case id."""
    failures = {}
    for number, line in enumerate(KNOWN_FAILURES.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        case, _, reason = line.partition(" ")
        if not reason.strip():
            raise ValueError(f"{KNOWN_FAILURES}:{number}: a known failure needs its reason")
        failures[case] = reason.strip()
    return failures
