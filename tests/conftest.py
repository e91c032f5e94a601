"""Settings for every test: hypothesis checks results, never how long they took on a busy machine."""

from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests.reference import is_left_out, summary

settings.register_profile("lanner", deadline=None)
settings.load_profile("lanner")


class FileOrClusterScheduling(LoadFileScheduling):
    """Distributes files, and the tests of one cluster in containers as if they were one file."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/e2e" if nodeid.startswith("tests/e2e/") else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileOrClusterScheduling | None:
    """Return the scheduler in place of loadfile's."""
    return FileOrClusterScheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Count tests whose reference material is missing by themselves, without a line for each."""
    return ("left out", "s", "LEFT OUT") if is_left_out(report) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report them in one line."""
    if left_out := terminalreporter.stats.get("left out"):
        terminalreporter.write_line(summary(left_out))
