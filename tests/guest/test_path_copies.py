"""Debian's kernel permits programs at functions, and so the paths of calls are copied in putname()."""

import json

import pytest

from tests.guest.machine import Written

pytestmark = pytest.mark.timeout(3600)


def test_paths_are_copied_in_the_function_that_frees_them(written: Written) -> None:
    """The check at the start found that it sees the paths of all calls."""
    [removed] = [json.loads(line)["output_fields"] for line in written.alerts if '"Removed"' in line]

    assert "attach_type:\t24\n" in written.log
    assert removed == removed | {"fs.path.name": "/etc/removed", "fs.path.nameraw": "/etc/removed"}
