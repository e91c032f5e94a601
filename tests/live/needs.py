"""What a test needs from the machine: skipped where it is missing, a failure where CI runs."""

import ctypes
import os
from typing import NoReturn

import pytest

_IO_URING_SETUP = 425


def io_uring() -> None:
    """Stop the test where the kernel has no io_uring or refuses it to everybody."""
    ring = ctypes.CDLL(None, use_errno=True).syscall(_IO_URING_SETUP, 1, ctypes.create_string_buffer(120))
    if ring < 0:
        lacking(f"this kernel makes no io_uring: {os.strerror(ctypes.get_errno())}")
    os.close(ring)


def lacking(reason: str) -> NoReturn:
    """Skip the test, or let it fail where CI is set, so that a runner without the means can't look green."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
