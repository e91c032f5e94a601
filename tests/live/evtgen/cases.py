"""The cases: Falco's own end-to-end tests, read from the conformance folder, with what is known of them here."""

import json
import platform
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.conformance.cases import Case
from tests.reference import conformance_dir, is_required, needs, shared_dir

HERE = Path(__file__).parent
CASES = conformance_dir() / "evtgen.jsonl"
UPSTREAM_FILES = ("falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")


def rules_files() -> list[Path]:
    """Return upstream's rule files, those beside the cases first, in the order in which they are loaded."""
    roots = (conformance_dir().parent, shared_dir() / "conformance")
    folders = [root / "rules_files" / "falcosecurity_rules" for root in roots]
    folder = next((each for each in folders if each.is_dir()), folders[0])
    return [folder / name for name in UPSTREAM_FILES]


QUIET_CASES: tuple[Case, ...] = tuple(
    {
        "id": f"quiet/{name}",
        "context": {"processes": [{"name": "eg_quiet"}], **container},
        "steps": [
            {
                "type": "syscall",
                "name": "o",
                "syscall": "openat",
                "args": {"pathname": "/etc/group", "flags": "O_RDONLY"},
            },
            {"type": "syscall", "name": "s", "syscall": "socket", "args": {"domain": "AF_INET", "type": "SOCK_STREAM"}},
            {"type": "syscall", "name": "d", "syscall": "dup", "args": {"oldfd": "${ s }"}},
        ],
    }
    for name, container in (
        ("host", {}),
        ("privileged", {"container": {}}),
        ("unprivileged", {"container": {"privileged": False}}),
    )
)
"""Ours: the actor alone, doing what nobody minds."""


def read_cases() -> list[Case]:
    """Read all cases; none where the folder is not here."""
    if not CASES.exists() and not is_required():
        return []
    return [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines() if line.strip()]


def parameters(cases: list[Case]) -> list[object]:
    """Return a parameter of the test for each case, or one that reports that the cases are missing."""
    if not cases:
        return [pytest.param({}, id="evtgen-absent", marks=needs(CASES))]
    known = read_reasons(HERE / "known_failures.txt")
    return [
        pytest.param(
            case,
            id=case["id"],
            marks=[pytest.mark.xfail(reason=known[case["id"]], strict=True)] if case["id"] in known else [],
        )
        for case in cases
    ]


def reason_not_here(case: Case) -> str | None:
    """Return why this machine can't carry out a case; None where it can."""
    architecture = (case.get("run_if") or {}).get("arch")
    if architecture and (architecture["op"] == "ne") == (architecture["val"] == _machine()):
        return f"not on {_machine()}"
    listed = read_reasons(HERE / "not_here.txt")
    return next((reason for pattern, reason in listed.items() if fnmatchcase(case["id"], pattern)), None)


def _machine() -> str:
    return {"aarch64": "arm64", "x86_64": "amd64"}.get(platform.machine(), platform.machine())


def read_reasons(path: Path) -> dict[str, str]:
    """Read a file of ids and reasons; raises ValueError where one has no reason."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        case_id, _, reason = line.partition(" ")
        if not reason.strip():
            raise ValueError(f"{path}:{number}: {case_id} needs its reason")
        found[case_id] = reason.strip()
    return found
