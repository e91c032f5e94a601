import re

from notifier.formats.mitre import TACTICS, TECHNIQUES, tactics, tactics_of, techniques
from tests.unit.rules.shipped import rules


def test_the_techniques_of_the_shipped_rules_have_names() -> None:
    """A SIEM shows names, and a subtechnique's parent is listed too."""
    named = [found for rule in rules().values() for found in techniques(rule["tags"])]

    assert named
    assert all(found.name for found in named)
    assert all(re.fullmatch(r"T\d{4}(\.\d{3})?", number) for number in TECHNIQUES)
    assert {number.split(".")[0] for number in TECHNIQUES} <= TECHNIQUES.keys()


def test_each_technique_has_tactics() -> None:
    """A matrix shows it in their columns."""
    ids = {number for number, _ in TACTICS.values()}
    assert all(set(tactics_of(number)) <= ids for number in TECHNIQUES)
    assert tactics_of("T1059.004") == ["TA0002"]
    assert tactics_of("T9999") == []


def test_tactics_of_later_versions_have_names() -> None:
    """Converted rules may have tags of ATT&CK 19."""
    assert [(each.id, each.name) for each in tactics(["mitre_stealth", "mitre_defense_impairment"])] == [
        ("TA0005", "Stealth"),
        ("TA0112", "Defense Impairment"),
    ]
