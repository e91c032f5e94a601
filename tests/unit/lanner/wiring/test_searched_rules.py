"""Rules whose lists gain entries: which of them are searched for in the past."""

from pathlib import Path

from lanner.ruleset.load import load_or_fail
from lanner.settings import load_settings
from lanner.wiring.rules import find_rules, searched_rules

RULES = """
- indicators: c2
  file: c2.txt
  kind: address
- rule: Listed address
  desc: A process connected to a listed address.
  condition: evt.type = connect and fd.sip in_indicators (c2)
  output: found
  priority: CRITICAL
- rule: Listed stranger
  desc: A process connected to a listed address that is not that of a known server.
  condition: evt.type = connect and fd.sip in_indicators (c2) and not fd.sip.name = good.example.com
  output: found
  priority: CRITICAL
"""


def test_a_rule_that_compares_host_names_is_not_searched_for(tmp_path: Path) -> None:
    """The addresses of the names at that time are not known, so an exception would be true of no event."""
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "c2.txt").write_text("192.0.2.1\n")
    notes: list[str] = []
    choices = find_rules(load_settings(None, {}, [f"rules_files={tmp_path / 'rules.yaml'}"]))
    active = load_or_fail(choices, warnings=False)

    found = searched_rules(choices, active.rules, active, lambda text, *_: notes.append(text))

    assert [each.rule.name for each in found] == ["Listed address"]
    assert notes == ["rule 'Listed stranger': new entries are not searched for: it compares addresses with host names."]
