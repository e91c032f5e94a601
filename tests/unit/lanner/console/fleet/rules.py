"""Rules for the tests."""

from typing import Any

from lanner.console.fleet.ports import KnownRules, RuleFacts, RulesVersion
from tests.unit.lanner.console.alerts import NOW
from tests.unit.lanner.console.fleet.hosts import GivenHosts, host

RULE = "Read sensitive file"
"""The rule of the tests' alerts."""
QUIET, OFF = "Load kernel module: any", "Set setuid bit"


def rule_facts(name: str = RULE, **facts: Any) -> RuleFacts:
    """Make a rule."""
    plain: dict[str, Any] = {
        "priority": "Warning",
        "enabled": True,
        "tags": ("T1003.008", "mitre_credential_access"),
        "event_types": frozenset({"openat"}),
        "description": "Somebody read it.",
        "response": "Ask who.",
        "condition": "open_read and fd.name in (/etc/shadow)",
        "exceptions": (),
        "place": "rules.yaml:7",
    }
    return RuleFacts(name, **(plain | facts))


def known_rules(**facts: Any) -> KnownRules:
    """Make a published version of three rules."""
    rules = (
        rule_facts(),
        rule_facts(QUIET, tags=("T1547.006", "T9999", "mitre_persistence"), event_types=frozenset({"init_module"})),
        rule_facts(OFF, tags=("T1548.001",), enabled=False, event_types=frozenset({"chmod"})),
    )
    changes = (f"~ rule {QUIET}: condition, output", f"+ rule {OFF} added", "~ list shells: items")
    version = RulesVersion("20261127-070000-0badcafe", NOW, "alice", "build-1", "for the audit", "key-1", changes)
    plain: dict[str, Any] = {
        "rules": rules,
        "origin": "The version that is published.",
        "version": version,
        "seconds": {RULE: 3.0, QUIET: 1.0},
        "costs": "Estimated by 1 processor.",
    }
    return KnownRules(**(plain | facts))


def fleet_of_rules() -> GivenHosts:
    """Return a fleet with one host and these rules."""
    fleet = GivenHosts(host(1))
    fleet.known_rules = known_rules()
    return fleet
