"""Settings for every test: hypothesis checks results, never how long they took on a busy machine."""

import pytest
from hypothesis import settings

from tests.reference import is_left_out, summary

settings.register_profile("lanner", deadline=None)
settings.load_profile("lanner")


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Count tests whose reference material is missing by themselves, without a line for each."""
    return ("left out", "s", "LEFT OUT") if is_left_out(report) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report them in one line."""
    if left_out := terminalreporter.stats.get("left out"):
        terminalreporter.write_line(summary(left_out))
