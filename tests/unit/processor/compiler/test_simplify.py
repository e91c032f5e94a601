from pathlib import Path

import pytest

from processor.compiler.simplify import simplify
from processor.language.parser import parse

FIXTURE = Path(__file__).with_name("fixtures") / "simplify.txt"


def pairs() -> list[tuple[str, str]]:
    """Read the fixture: a condition, its simplified form, a blank line."""
    blocks = FIXTURE.read_text(encoding="utf-8").split("\n", 1)[1].strip().split("\n\n")
    return [(before, after) for before, after in (block.split("\n") for block in blocks)]


@pytest.mark.parametrize(("before", "after"), pairs())
def test_what_is_left_of_a_condition_for_an_openat_event(before: str, after: str) -> None:
    """The simplified condition equals the fixture's."""
    left = simplify(parse(before), "openat")

    assert left == {"true": True, "false": False}.get(after, parse(after) if " " in after else None)
