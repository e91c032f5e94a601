"""Settings for every test: hypothesis checks results, never how long they took on a busy machine."""

from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests.reference import is_left_out, summary

settings.register_profile("lanner", deadline=None)
settings.load_profile("lanner")


LONG_FILES = ("tests/cluster/test_correlation.py", "tests/cluster/test_restarts.py")
"""Their tests share only a broker, which each worker has."""


ONE_BY_ONE = ("tests/e2e/", "tests/live/lanner/")
"""Their tests share a cluster in containers, or mark files in the same way, so that others' alerts are theirs, too."""


class FileOrFolderScheduling(LoadFileScheduling):
    """Distributes files; long ones by function, and some folders as if they were one file."""

    def _split_scope(self, nodeid: str) -> str:
        if folder := next((each for each in ONE_BY_ONE if nodeid.startswith(each)), None):
            return folder
        return nodeid.partition("[")[0] if nodeid.startswith(LONG_FILES) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileOrFolderScheduling | None:
    """Return the scheduler in place of loadfile's."""
    return FileOrFolderScheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Count tests whose reference material is missing by themselves, without a line for each."""
    return ("left out", "s", "LEFT OUT") if is_left_out(report) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report them in one line."""
    if left_out := terminalreporter.stats.get("left out"):
        terminalreporter.write_line(summary(left_out))
