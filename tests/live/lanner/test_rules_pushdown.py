import json
from pathlib import Path

import pytest

from tests.live.lanner.watching import Watching, touch_mark

pytestmark = pytest.mark.live

OTHERS = 100


def test_what_the_kernel_leaves_out_is_counted_until_ctrl_c(rules: Path, tmp_path: Path) -> None:
    """Opens that the rule isn't about are seen and not sent; the one that it is about is sent for it."""
    with Watching("-r", rules, "rules", "pushdown", "--live", "60s", "--format", "json") as counting:
        touch_mark(tmp_path).read_bytes()
        for _ in range(OTHERS):
            Path("/etc/hostname").read_bytes()
        assert counting.end() == 0

    openat = next(row for row in json.loads(counting.out.text) if row["event"] == "openat")
    assert openat["seen"] - openat["passed"] >= OTHERS
    assert openat["rules"][0]["sent"] >= 1


def test_two_things_to_count_on_are_a_usage_error(rules: Path) -> None:
    """A recording, or this host."""
    with Watching(*("-r", rules, "rules", "pushdown", "--live", "1s", "--recording", rules), started="") as counting:
        assert counting.wait() == 2

    assert "--recording and --live exclude each other" in counting.err.text
