import re

from notifier.formats.mitre import TECHNIQUES, techniques
from tests.unit.rules.shipped import rules


def test_the_techniques_of_the_shipped_rules_have_names() -> None:
    """A SIEM shows names, and a subtechnique's parent is listed too."""
    named = [found for rule in rules().values() for found in techniques(rule["tags"])]

    assert named
    assert all(found.name for found in named)
    assert all(re.fullmatch(r"T\d{4}(\.\d{3})?", number) for number in TECHNIQUES)
    assert {number.split(".")[0] for number in TECHNIQUES} <= TECHNIQUES.keys()
