"""Requirements of tests: skipped if the machine lacks one, a failure in CI."""

import ctypes
import os
from typing import NoReturn

import pytest

_IO_URING_SETUP = 425


def io_uring() -> None:
    """Skip the test if the kernel has no io_uring or forbids it."""
    ring = ctypes.CDLL(None, use_errno=True).syscall(_IO_URING_SETUP, 1, ctypes.create_string_buffer(120))
    if ring < 0:
        lacking(f"this kernel makes no io_uring: {os.strerror(ctypes.get_errno())}")
    os.close(ring)


def lacking(reason: str) -> NoReturn:
    """Skip the test, or fail it if CI is set, so that a runner that lacks something can't look green."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
