"""MITRE ATT&CK tactics and techniques named by tags of rules, such as `mitre_execution` and `T1059.004`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from schemas.catalogue import attack

TACTICS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {f"mitre_{tactic.key.replace('-', '_')}": (tactic.id, tactic.name) for tactic in attack.TACTICS.values()}
)
"""Tag to id and name, in the order of the matrix."""
_FORMER = {"mitre_defense_evasion": "mitre_stealth"}
"""Tags of tactics that ATT&CK has renamed; the rules of others still use them."""
TECHNIQUES: Mapping[str, str] = MappingProxyType({each.id: each.name for each in attack.TECHNIQUES.values()})
"""Id to name."""
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
    """Return the techniques and subtechniques among tags, each once; for a revoked one, what replaces it."""
    return list(dict.fromkeys(technique for tag in tags if (technique := _technique(tag))))


def tactics_of(technique: str) -> list[str]:
    """Return the ids of the tactics of a technique or subtechnique; empty if ATT&CK's table lacks it."""
    found = attack.TECHNIQUES.get(technique)
    return list(found.tactics) if found else []


def link(tag: str) -> str | None:
    """Return the URL of a tag's ATT&CK page; None if it has none."""
    named = _tactic(tag) or _technique(tag)
    return named.link if named else None


def _tactic(tag: str) -> AttackName | None:
    found = TACTICS.get(_FORMER.get(tag.lower(), tag.lower()))
    return AttackName(*found, f"https://attack.mitre.org/tactics/{found[0]}/") if found else None


def _technique(tag: str) -> AttackName | None:
    if not _TECHNIQUE.fullmatch(tag):
        return None
    current = attack.REVOKED.get(tag, tag)
    page = current.replace(".", "/")
    return AttackName(current, TECHNIQUES.get(current, ""), f"https://attack.mitre.org/techniques/{page}/")
