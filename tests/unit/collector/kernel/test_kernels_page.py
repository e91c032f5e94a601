"""The page about kernels has what was found under each, and what failed there is stated."""

from pathlib import Path

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
    kernels = (
        Checked("6.1", "one", DAY, found | {"steps": PASSED, "load": load}),
        Checked("6.2", "two", DAY, found | {"steps": PASSED | {"demo": "A|B"}}),
        Checked("5.10", "three", DAY, {"refused": "too old"}),
        Checked("7.9", "four", DAY, {}, "booting\nKernel panic"),
    )

    rows = [row for row in page(kernels).splitlines() if row.startswith("| ")][1:]

    off = "tty: none; fast reads; cheap copies of paths"
    loaded = "60 s, 1,100/s; 39 of 40 alerts; 1,200 lost; 80 MiB"
    assert rows == [
        f"| 6.1 | one | 2026-01-01 | all passed | {loaded} | 1,234 | 5,678 | {off} |",
        rf"| 6.2 | two | 2026-01-01 | demo: A\|B | flood, 60 s | 1,234 | 5,678 | {off} |",
        "| 5.10 | three | 2026-01-01 | refused: too old |  |  |  |  |",
        "| 7.9 | four | 2026-01-01 | the guest ended early: Kernel panic |  |  |  |  |",
    ]
