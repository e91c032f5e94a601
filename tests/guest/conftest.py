"""Tests in virtual machines: `make test-guest` sets LANNER_GUEST to an architecture; without it none is collected."""

import os

import pytest

from tests.guest.machine import NoGuest, Written, arm64_console, results
from tests.live.needs import lacking

_OTHERS = {"amd64": ["test_arm64.py"], "arm64": ["test_cgroup_version_2.py", "test_path_copies.py"]}
collect_ignore_glob = _OTHERS.get(os.environ.get("LANNER_GUEST", ""), ["test_*.py"])


@pytest.fixture(scope="session")
def written() -> Written:
    """Run the guest."""
    if os.geteuid() != 0:
        lacking("needs root")
    try:
        return results()
    except NoGuest as missing:
        lacking(str(missing))


@pytest.fixture(scope="session")
def console() -> str:
    """Run the guest of arm64 and return its console."""
    try:
        return arm64_console()
    except NoGuest as missing:
        lacking(str(missing))
