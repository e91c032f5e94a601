"""MITRE ATT&CK tactics and techniques named by tags of rules, such as `mitre_execution` and `T1059.004`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

TACTICS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "mitre_reconnaissance": ("TA0043", "Reconnaissance"),
    "mitre_resource_development": ("TA0042", "Resource Development"),
    "mitre_initial_access": ("TA0001", "Initial Access"),
    "mitre_execution": ("TA0002", "Execution"),
    "mitre_persistence": ("TA0003", "Persistence"),
    "mitre_privilege_escalation": ("TA0004", "Privilege Escalation"),
    "mitre_defense_evasion": ("TA0005", "Defense Evasion"),
    "mitre_credential_access": ("TA0006", "Credential Access"),
    "mitre_discovery": ("TA0007", "Discovery"),
    "mitre_lateral_movement": ("TA0008", "Lateral Movement"),
    "mitre_collection": ("TA0009", "Collection"),
    "mitre_command_and_control": ("TA0011", "Command and Control"),
    "mitre_exfiltration": ("TA0010", "Exfiltration"),
    "mitre_impact": ("TA0040", "Impact"),
})  # fmt: skip
"""Tag to id and name. Source: https://attack.mitre.org/tactics/enterprise/."""
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class AttackName:
    """A tactic or technique."""

    id: str
    name: str
    """Empty for techniques, whose hundreds of names change between versions of ATT&CK."""
    link: str


def tactics(tags: Iterable[str]) -> list[AttackName]:
    """Return the tactics among tags."""
    return [tactic for tag in tags if (tactic := _tactic(tag))]


def techniques(tags: Iterable[str]) -> list[AttackName]:
    """Return the techniques and subtechniques among tags."""
    return [technique for tag in tags if (technique := _technique(tag))]


def link(tag: str) -> str | None:
    """Return the URL of a tag's ATT&CK page; None if it has none."""
    named = _tactic(tag) or _technique(tag)
    return named.link if named else None


def _tactic(tag: str) -> AttackName | None:
    found = TACTICS.get(tag.lower())
    return AttackName(*found, f"https://attack.mitre.org/tactics/{found[0]}/") if found else None


def _technique(tag: str) -> AttackName | None:
    if not _TECHNIQUE.fullmatch(tag):
        return None
    return AttackName(tag, "", f"https://attack.mitre.org/techniques/{tag.replace('.', '/')}/")
