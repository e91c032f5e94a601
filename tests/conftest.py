"""Settings for every test: hypothesis checks results, never how long they took on a busy machine."""

import gc
from collections.abc import Generator
from functools import cached_property
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

from tests.reference import is_left_out, summary

settings.register_profile("lanner", deadline=None)
settings.load_profile("lanner")


LONG_FILES = ("tests/cluster/test_correlation.py",)
"""Their tests share only a broker, which each worker has."""


ONE_BY_ONE = ("tests/e2e/", "tests/live/lanner/")
"""Their tests share a cluster in containers, or mark files in the same way, so that others' alerts are theirs, too."""


class FileOrFolderScheduling(LoadFileScheduling):
    """Distributes files; long ones by function, and some folders as if they were one file.

    All workers but one begin with the first ones, which mostly wait for brokers and containers. One begins with the
    last, which compute.
    """

    @cached_property
    def _index(self) -> dict[str, int]:
        # The same for all workers. LoadFileScheduling searches the list for each test.
        return {nodeid: index for index, nodeid in enumerate(self.collection)}

    def _assign_work_unit(self, node: WorkerController) -> None:
        scope, unit = self.workqueue.popitem(last=node is self.nodes[-1])
        self.assigned_work[node][scope] = unit
        node.send_runtest_some([self._index[nodeid] for nodeid, done in unit.items() if not done])

    def _split_scope(self, nodeid: str) -> str:
        if folder := next((each for each in ONE_BY_ONE if nodeid.startswith(each)), None):
            return folder
        return nodeid.partition("[")[0] if nodeid.startswith(LONG_FILES) else super()._split_scope(nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected: it would look through millions of objects that all stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


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
