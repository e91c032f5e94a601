from lanner.console.fleet.ports import KnownRules
from lanner.console.fleet.rules import matrix, rule_rows
from tests.unit.lanner.console.fleet.rules import OFF, QUIET, RULE, rule_facts
from tests.unit.lanner.console.fleet.test_rules import ACTIVITY, rows


def test_techniques_are_in_the_columns_of_their_tactics() -> None:
    """One that this release doesn't know is where its rule's own tags place it."""
    found = {tactic.name: {cell.name.id: cell for cell in tactic.techniques} for tactic in matrix(rows())}
    assert found["Credential Access"]["T1003.008"].rules == [RULE]
    assert found["Credential Access"]["T1003.008"].alerts == 6
    assert found["Persistence"].keys() == {"T1547.006", "T9999"}
    assert found["Privilege Escalation"]["T1547.006"].rules == [QUIET]
    cell = found["Privilege Escalation"]["T1548.001"]
    assert (cell.rules, cell.off, cell.alerts) == ([], [OFF], 0)
    assert found["Impact"] == {}


def test_a_column_counts_what_is_covered() -> None:
    """A technique whose rules are all off is not."""
    tactics = {tactic.name: tactic for tactic in matrix(rows())}
    assert len(tactics) == 15
    assert next(iter(tactics)) == "Reconnaissance"
    assert (tactics["Credential Access"].covered, tactics["Credential Access"].alerts) == (1, 6)
    assert tactics["Stealth"].covered == 0


def test_a_former_name_of_a_tactic_is_in_the_column_of_the_present_one() -> None:
    """ATT&CK 19 has renamed Defense Evasion; the rules of others keep the tag."""
    facts = rule_facts("New", tags=("T9998", "mitre_defense_evasion"))
    found = {tactic.name: tactic for tactic in matrix(rule_rows(KnownRules([facts]), ACTIVITY, {}))}
    assert [cell.rules for cell in found["Stealth"].techniques] == [["New"]]
