"""`lanner sizing`."""

import json
import re
from pathlib import Path

import pytest

from tests.unit.lanner.program import lanner

PAGE = (Path(__file__).parents[4] / "docs/sizing.md").read_text()
SHOWN = re.findall(r"^```\n\$ lanner (sizing [^\n]*)\n(.*?)```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("arguments", "output"), SHOWN)
def test_the_page_shows_what_the_command_prints(arguments: str, output: str) -> None:
    """Each example of the page on sizing."""
    done = lanner(*arguments.split())
    assert done.returncode == 0
    assert done.stdout == output


def test_json_has_the_plan_and_the_parts() -> None:
    """Programs read the same figures."""
    found = json.loads(lanner("sizing", "--hosts", "10", "--events-per-host", "5", "--format", "json").stdout)
    assert (found["plan"]["hosts"], found["events"]) == (10, 50)
    assert [part["name"] for part in found["parts"]] == ["collectors", "brokers", "processors", "notifiers"]


def test_a_large_fleet_is_told_of_larger_batches() -> None:
    """On standard error, so that the table stays one."""
    arguments = ("sizing", "--hosts", "10000", "--events-per-host", "20")
    assert "--batch-ms 1000" in lanner(*arguments).stderr
    assert not lanner(*arguments, "--batch-ms", "1000").stderr
    assert not lanner("-q", *arguments).stderr


def test_a_price_below_zero_is_rejected() -> None:
    """With the name of the flag."""
    done = lanner("sizing", "--hosts", "1", "--events-per-host", "1", "--core-price", "-1")
    assert done.returncode == 2
    assert "--core-price" in done.stderr
