import pytest
import re2

from lanner.sigma.regex import sample


@pytest.mark.parametrize(
    "pattern",
    [r"a|b", r"(?:\s-[^-\s]{0,20}i|\s--inode\s)", r"[0-9]{1,3}\.[0-9]{2}", r"(.){200,}", r"\W[^/]+$", r"^\x41é*"],
)
def test_the_sample_is_found_by_its_pattern(pattern: str) -> None:
    """It is one of the shortest texts."""
    assert re2.compile(pattern).search(sample(pattern))
