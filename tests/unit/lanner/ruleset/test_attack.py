from lanner.ruleset.attack import attack_coverage
from tests.unit.lanner.ruleset.rulesets import tagged


def test_rules_are_listed_by_technique() -> None:
    """Only enabled ones; a technique that ATT&CK's table lacks is listed without a name."""
    found = attack_coverage(tagged(a="T1059.004 mitre_execution", b="T1059.004 T9999 host", c="T1098 off"))
    assert [(each.technique.id, each.technique.name, each.rules, each.is_known) for each in found.covered] == [
        ("T1059.004", "Unix Shell", ("a", "b"), True),
        ("T9999", "", ("b",), False),
    ]


def test_related_techniques_are_no_gaps() -> None:
    """A rule on a technique stands for its subtechniques, and one on a subtechnique for its technique only."""
    gaps = {each.id for each in attack_coverage(tagged(a="T1059.004 T1070")).gaps}
    assert not {"T1059.004", "T1059", "T1070", "T1070.004", "T1070.003"} & gaps
    assert {"T1059.006", "T1098"} <= gaps


def test_gaps_are_those_of_the_platforms() -> None:
    """Techniques of Windows alone are not compared."""
    both = {each.id for each in attack_coverage(()).gaps}
    containers = {each.id for each in attack_coverage((), ("Containers",)).gaps}
    assert "T1003.001" not in both
    assert "T1547.006" in both - containers
    assert "T1609" in containers
    assert containers < both


def test_tactics_count_what_is_no_gap() -> None:
    """A technique counts for each of its tactics; tactics without techniques of the platforms are left out."""
    found = {each.tactic.id: each for each in attack_coverage(tagged(a="T1098.004")).tactics}
    assert found["TA0003"].covered == found["TA0004"].covered == 2
    assert found["TA0002"].covered == 0 < found["TA0002"].total
    assert "TA0043" not in found
