"""The page about kernels has what was found under each, and what failed there is stated."""

from pathlib import Path

from bench.kernels.page import PAGE, Checked, Results, page, read_results, write_results

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
        "attach_ms": 1234,
        "verified": 5678,
        "is_typed": False,
        "off": {"tty": "none"},
        "copies": "kmem_cache_free",
    }
    kernels = (
        Checked("6.1", "one", found | {"steps": PASSED}),
        Checked("6.2", "two", found | {"steps": PASSED | {"demo": "not detected: A|B"}}),
        Checked("5.10", "three", {"refused": "too old"}),
        Checked("7.9", "four", {}, "booting\nKernel panic"),
    )

    rows = [row for row in page(Results("2026-01-01", "x86_64", 20, kernels)).splitlines() if row.startswith("| ")][1:]

    assert rows == [
        "| 6.1 | one | all passed | 1,234 | 5,678 | tty: none; fast reads; cheap copies of paths |",
        r"| 6.2 | two | demo: not detected: A\|B | 1,234 | 5,678 | tty: none; fast reads; cheap copies of paths |",
        "| 5.10 | three | refused: too old |  |  |  |",
        "| 7.9 | four | the guest ended early: Kernel panic |  |  |  |",
    ]
