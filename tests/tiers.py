"""Which tests run when: `make test-fast` runs FAST without LONG, `make test` MAIN as well, `make test-rest` the others.

`python -m tests.tiers parallel fast main` prints the files of these tiers that run beside each other.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

Tier = Literal["fast", "main", "rest"]
Lane = Literal["parallel", "computing", "live", "alone"]

ROOT = Path(__file__).parents[1]

FAST = ("tests/unit", "tests/conformance")
"""No root and no service."""
LONG = (
    "tests/unit/lanner/console/server/views/test_generated_requests.py",
    "tests/unit/lanner/hunting/test_three_engines.py",
    "tests/unit/lanner/test_libraries.py",
    "tests/unit/lanner/test_program.py",
    "tests/unit/processor/compiler/test_against_interpreter.py",
    "tests/unit/rules/test_ordinary_work.py",
)
"""Files of FAST that take a fifth of its processor time: left to the last tier."""

MAIN = {
    "kernel": (
        "tests/live/collector/test_kernel_feed.py",
        "tests/live/collector/test_process_fields.py",
        "tests/live/test_shipped_rules.py",
    ),
    "container": ("tests/live/test_container_facts.py", "tests/live/collector/test_container_events.py"),
    "broker": ("tests/cluster/test_end_to_end.py", "tests/cluster/test_correlation.py", "tests/cluster/test_poison.py"),
    "fleet with a kill -9": ("tests/cluster/test_restarts.py", "tests/cluster/test_notifier_kills.py"),
    "sinks": ("tests/live/notifier/test_syslog_daemons.py", "tests/live/notifier/test_webhook.py"),
    "browser": ("tests/browser/test_views.py", "tests/browser/test_hostile.py"),
    "packages' units": ("tests/deploy/test_units.py",),
    "hostile user": ("tests/adversary/host/test_hostile_user.py", "tests/adversary/fleet"),
}
"""The tests of each kind of real part that find most."""

COMPUTING = (
    *("tests/conformance", "tests/fuzz", "tests/unit/rules", "tests/unit/schemas", "tests/unit/test_walls.py"),
    *(f"tests/unit/collector/{each}" for each in ("bpf", "events", "kernel", "records")),
    *(f"tests/unit/collector/containers/test_{each}.py" for each in ("bundles", "values")),
    *(f"tests/unit/collector/publishing/test_{each}.py" for each in ("batch_halves", "send_window")),
    *(
        f"tests/unit/processor/{each}"
        for each in ("compiler", "correlation", "detection", "fields", "language", "loading")
    ),
    *(
        f"tests/unit/processor/{each}"
        for each in ("indicators", "matching", "output", "pushdown", "test_filter_bounds.py")
    ),
    "tests/unit/processor/fleet/test_message_stage.py",
    *(
        f"tests/unit/lanner/{each}"
        for each in ("archive", "captures", "console", "hunting", "importing", "ruleset/lint", "ruleset/test_triage.py")
    ),
    *(
        f"tests/unit/lanner/{each}"
        for each in ("sigma", "sources", "test_libraries.py", "tuning", "wiring/test_alert_fields.py")
    ),
    *(
        "tests/unit/notifier/formats",
        "tests/unit/test_documents.py",
        "tests/unit/test_errors.py",
        "tests/unit/test_site.py",
    ),
)
"""They wait for no other process and raise no alert, so they can run whenever a processor is idle."""
LIVE = ("tests/live", "tests/e2e", "tests/adversary/host")
"""They watch the kernel, or run a container daemon or a cluster, and go by their own processes' events."""
ALONE = (
    "tests/adversary/host/test_decoys.py",
    "tests/adversary/host/test_hostile_containers.py",
    "tests/adversary/host/test_hostile_user.py",
    "tests/live/collector/test_faults.py",
    "tests/live/collector/test_kubernetes_events.py",
    "tests/live/collector/test_other_containers.py",
    "tests/live/collector/test_pushdown_acts.py",
    "tests/live/evtgen/test_evtgen.py",
    "tests/live/evtgen/test_parity.py",
    "tests/live/lanner/test_demo.py",
    "tests/live/lanner/test_flood.py",
    "tests/live/lanner/test_prove.py",
    "tests/live/lanner/test_silent_file_systems.py",
    "tests/live/lanner/test_tutorials.py",
    "tests/live/test_floor.py",
    "tests/live/test_introduction_rules.py",
    "tests/live/test_io_uring_rules.py",
    "tests/live/test_quiet.py",
)
"""They flood the machine, hold up its look-ups, take its events for their own, do what other tests do, or need mounts
that nobody changes, or a daemon that answers within a second."""
BESIDE = ("tests/live/notifier", "tests/live/evtgen/test_plans.py", "tests/live/test_procfs_matches_kernel.py")
"""They don't watch the kernel."""
FIRST = (
    *("tests/deploy/test_images.py", "tests/deploy/test_helm.py", "tests/deploy/test_tarball.py"),
    *("tests/cluster", "tests/deploy", "tests/fuzz", "tests/adversary/fleet", "tests/live/notifier"),
    "tests/browser",
    *("tests/e2e", "tests/live/lanner", "tests/live/collector"),
)
"""The long ones, so that none runs alone at the end; three of them build something."""


ON_REQUEST = ("tests/soak", "tests/kubernetes", "tests/guest", "tests/packages", "tests/s3")
"""Left to `make soak`, `make test-kubernetes`, `make test-guest`, `make test-packages` and `make test-s3`: pytest
collects files that are named, whatever a conftest ignores."""


def files() -> list[str]:
    """Return all files of tests, from the repository's root."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))


def tier(file: str) -> Tier:
    """Return when a file's tests run."""
    if _is_in(file, FAST):
        return "rest" if file in LONG else "fast"
    return "main" if any(_is_in(file, paths) for paths in MAIN.values()) else "rest"


def lane(file: str) -> Lane:
    """Return beside what a file's tests run."""
    if _is_in(file, ALONE):
        return "alone"
    if _is_in(file, COMPUTING):
        return "computing"
    return "live" if _is_in(file, LIVE) and not _is_in(file, BESIDE) else "parallel"


def chosen(of: Lane, *tiers: str) -> list[str]:
    """Return the files of a lane of some tiers, in the order in which they start."""
    found = [file for file in files() if tier(file) in tiers and lane(file) == of]
    return sorted(found, key=lambda file: next((i for i, path in enumerate(FIRST) if _is_in(file, [path])), len(FIRST)))


def _is_in(file: str, paths: Sequence[str]) -> bool:
    return any(file == path or file.startswith(f"{path}/") for path in paths)


if __name__ == "__main__":
    which, *names = sys.argv[1:]
    assert which in get_args(Lane), which
    assert set(names) <= set(get_args(Tier)), names
    found = chosen(which, *names)  # type: ignore[arg-type]
    sys.stdout.writelines(f"{file}\n" for file in found if not _is_in(file, ON_REQUEST))
