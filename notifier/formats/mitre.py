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
TECHNIQUES: Mapping[str, str] = MappingProxyType({
    "T1003": "OS Credential Dumping",
    "T1003.008": "/etc/passwd and /etc/shadow",
    "T1005": "Data from Local System",
    "T1020": "Automated Exfiltration",
    "T1036": "Masquerading",
    "T1046": "Network Service Discovery",
    "T1048": "Exfiltration Over Alternative Protocol",
    "T1053": "Scheduled Task/Job",
    "T1053.003": "Cron",
    "T1055": "Process Injection",
    "T1055.008": "Ptrace System Calls",
    "T1059": "Command and Scripting Interpreter",
    "T1059.004": "Unix Shell",
    "T1068": "Exploitation for Privilege Escalation",
    "T1070": "Indicator Removal",
    "T1070.002": "Clear Linux or Mac System Logs",
    "T1070.003": "Clear Command History",
    "T1070.004": "File Deletion",
    "T1071": "Application Layer Protocol",
    "T1072": "Software Deployment Tools",
    "T1083": "File and Directory Discovery",
    "T1098": "Account Manipulation",
    "T1098.004": "SSH Authorized Keys",
    "T1105": "Ingress Tool Transfer",
    "T1132": "Data Encoding",
    "T1190": "Exploit Public-Facing Application",
    "T1195": "Supply Chain Compromise",
    "T1195.002": "Compromise Software Supply Chain",
    "T1204": "User Execution",
    "T1205": "Traffic Signaling",
    "T1205.001": "Port Knocking",
    "T1222": "File and Directory Permissions Modification",
    "T1222.002": "Linux and Mac File and Directory Permissions Modification",
    "T1485": "Data Destruction",
    "T1496": "Resource Hijacking",
    "T1505": "Server Software Component",
    "T1505.003": "Web Shell",
    "T1525": "Implant Internal Image",
    "T1543": "Create or Modify System Process",
    "T1546": "Event Triggered Execution",
    "T1546.004": "Unix Shell Configuration Modification",
    "T1547": "Boot or Logon Autostart Execution",
    "T1547.006": "Kernel Modules and Extensions",
    "T1548": "Abuse Elevation Control Mechanism",
    "T1548.001": "Setuid and Setgid",
    "T1548.003": "Sudo and Sudo Caching",
    "T1552": "Unsecured Credentials",
    "T1552.001": "Credentials In Files",
    "T1552.004": "Private Keys",
    "T1552.005": "Cloud Instance Metadata API",
    "T1554": "Compromise Host Software Binary",
    "T1555": "Credentials from Password Stores",
    "T1556": "Modify Authentication Process",
    "T1557": "Adversary-in-the-Middle",
    "T1557.002": "ARP Cache Poisoning",
    "T1562": "Impair Defenses",
    "T1562.001": "Disable or Modify Tools",
    "T1564": "Hide Artifacts",
    "T1564.001": "Hidden Files and Directories",
    "T1565": "Data Manipulation",
    "T1609": "Container Administration Command",
    "T1610": "Deploy Container",
    "T1611": "Escape to Host",
    "T1620": "Reflective Code Loading",
    "T1622": "Debugger Evasion",
})  # fmt: skip
"""Id to name, of the techniques that Lanner's and Falco's rules name. Source: ATT&CK 17."""
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class AttackName:
    """A tactic or technique."""

    id: str
    name: str
    """Empty for a technique that `TECHNIQUES` doesn't list."""
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
    return AttackName(tag, TECHNIQUES.get(tag, ""), f"https://attack.mitre.org/techniques/{tag.replace('.', '/')}/")
