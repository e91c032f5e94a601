from collector.pushdown.environment import named
from schemas.filter import EVERY_VARIABLE

ENVIRONMENT = ("HOME=/root", "AWS_SECRET_ACCESS_KEY=hush", "HOMEPAGE=x", "EMPTY=", "odd", "HOME=again")


def test_only_what_is_named_is_retained() -> None:
    """A name is compared in full, with its case."""
    assert named(ENVIRONMENT, frozenset({"HOME", "home", "odd"})) == ("HOME=/root", "odd", "HOME=again")
    assert named(ENVIRONMENT, frozenset({"OTHER"})) == ()
    assert named(ENVIRONMENT, frozenset({"OTHER", EVERY_VARIABLE})) == ENVIRONMENT
