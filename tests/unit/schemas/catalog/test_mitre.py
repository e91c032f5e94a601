import re

from schemas.catalog.attack import TACTIC_TAGS as TACTICS
from schemas.catalog.attack import TECHNIQUE_TAGS as TECHNIQUES
from schemas.catalog.attack import tactics, tactics_of, techniques
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


def test_former_names_stand_for_the_present_ones() -> None:
    """The rules of others still have the tactic that ATT&CK 19 has renamed, and techniques that it has revoked."""
    assert [(each.id, each.name) for each in tactics(["mitre_defense_evasion", "mitre_defense_impairment"])] == [
        ("TA0005", "Stealth"),
        ("TA0112", "Defense Impairment"),
    ]
    assert [(each.id, each.link) for each in techniques(["T1562.001", "T1685", "T1070.002", "T1148"])] == [
        ("T1685", "https://attack.mitre.org/techniques/T1685/"),
        ("T1685.006", "https://attack.mitre.org/techniques/T1685/006/"),
        ("T1690", "https://attack.mitre.org/techniques/T1690/"),
    ]
