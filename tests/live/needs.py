"""What a test needs from the machine: skipped where it is missing, a failure where CI runs."""

import os
from typing import NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """Skip the test, or let it fail where CI is set, so that a runner without the means can't look green."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
