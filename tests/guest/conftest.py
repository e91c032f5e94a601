"""Tests in a virtual machine: `make test-guest` sets LANNER_GUEST; without it they aren't collected at all."""

import os

import pytest

from tests.guest.machine import NoGuest, Written, results
from tests.live.needs import lacking

collect_ignore_glob = [] if os.environ.get("LANNER_GUEST") else ["test_*.py"]


@pytest.fixture(scope="session")
def written() -> Written:
    """Run the guest."""
    if os.geteuid() != 0:
        lacking("needs root")
    try:
        return results()
    except NoGuest as missing:
        lacking(str(missing))
