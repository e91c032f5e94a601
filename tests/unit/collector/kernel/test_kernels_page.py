"""The page about kernels has what was found under each, and what failed there is stated."""

from pathlib import Path

import pytest

from bench.kernels.load import Load
from bench.kernels.page import PAGE, Checked, page, read_results, write_results

DAY = "2026-01-01"
PASSED = {"attach and self-test": "", "demo": ""}


def test_every_figure_of_the_page_is_in_the_results() -> None:
    """`make test-kernels` writes both."""
    assert PAGE.read_text() == page(read_results())


def test_results_are_read_as_they_are_written(tmp_path: Path) -> None:
    """Kernels that are not checked again keep theirs."""
    results = read_results()

    write_results(results, tmp_path / "results.json")

    assert read_results(tmp_path / "results.json") == results


def test_refusals_failures_and_what_is_off_are_on_the_page() -> None:
    """None of them looks like a kernel under which all is well."""
    found = {
        "seconds": 60,
        "attach_ms": 1234,
        "verified": 5678,
        "is_typed": False,
        "off": {"tty": "none"},
        "copies": "kmem_cache_free",
    }
    made, lost = {"opens": 60000, "starts": 6000}, {"events_over_share": 1200}
    load = {"seconds": 60, "made": made, "marked": 40, "alerted": 39, "lost": lost, "memory_mib": 80}
    skipping = load | {"alerted": 40, "lost": {"recursion_misses": 1500}}
    kernels = (
        Checked("6.1", "one", DAY, found | {"steps": PASSED, "load": load}),
        Checked("6.2", "two", DAY, found | {"steps": PASSED | {"demo": "A|B"}}),
        Checked("7.3", "two", DAY, found | {"steps": PASSED, "load": skipping}),
        Checked("5.10", "three", DAY, {"refused": "too old"}),
        Checked("7.9", "four", DAY, {}, "booting\nKernel panic"),
    )

    rows = [row for row in page(kernels).splitlines() if row.startswith("| ")][1:]

    off = "tty: none; fast reads; cheap copies of paths"
    loaded = "60 s, 1,100/s; 39 of 40 alerts; 1,200 lost; 80 MiB"
    skipped = "60 s, 1,100/s; 40 of 40 alerts; 0 lost, 1,500 runs skipped; 80 MiB"
    assert rows == [
        f"| 6.1 | one | 2026-01-01 | all passed | {loaded} | 1,234 | 5,678 | {off} |",
        rf"| 6.2 | two | 2026-01-01 | demo: A\|B | flood, 60 s | 1,234 | 5,678 | {off} |",
        f"| 7.3 | two | 2026-01-01 | all passed | {skipped} | 1,234 | 5,678 | {off} |",
        "| 5.10 | three | 2026-01-01 | refused: too old |  |  |  |  |",
        "| 7.9 | four | 2026-01-01 | the guest ended early: Kernel panic |  |  |  |  |",
    ]


@pytest.mark.parametrize(
    ("alerted", "lost", "failure"),
    [
        (2, {"events_over_share": 9, "recursion_misses": 5}, ""),
        (2, {"events_ring_full": 3, "recursion_misses": 5}, "lost: {'events_ring_full': 3}"),
        (1, {"recursion_misses": 5}, "alerts for 1 of 2 marked actions"),
    ],
)
def test_skipped_runs_fail_a_load_only_if_an_alert_is_missing(alerted: int, lost: dict[str, int], failure: str) -> None:
    """The kernel counts runs for calls that no rule needs as well, so a number alone is no failure."""
    found = Load(60, marked=2, alerted=alerted, lost=lost).failure

    assert found.startswith(failure)
    assert bool(found) == bool(failure)
