"""MITRE ATT&CK: the tactics and techniques of the enterprise matrix.

`deploy/docs/attack.py` writes the table, `schemas/catalogue_attack.json`, from MITRE's own files.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

_DATA: dict[str, Any] = json.loads((Path(__file__).resolve().parents[1] / "catalogue_attack.json").read_text("utf-8"))

VERSION: str = _DATA["version"]
"""The version of ATT&CK."""


@dataclass(frozen=True, slots=True)
class AttackTactic:
    """A column of the matrix."""

    id: str
    name: str
    key: str
    """Its name in tags and layers, such as `defense-evasion`."""


@dataclass(frozen=True, slots=True)
class AttackTechnique:
    """A technique, or a subtechnique such as T1059.004."""

    id: str
    name: str
    tactics: tuple[str, ...]
    """Ids."""
    platforms: frozenset[str]

    @property
    def parent(self) -> str:
        """The id of a subtechnique's technique; empty for a technique."""
        return self.id.partition(".")[0] if "." in self.id else ""


TACTICS: Mapping[str, AttackTactic] = MappingProxyType({row[0]: AttackTactic(*row) for row in _DATA["tactics"]})
"""By id, in the order of the matrix."""
TECHNIQUES: Mapping[str, AttackTechnique] = MappingProxyType(
    {row[0]: AttackTechnique(row[0], row[1], tuple(row[2]), frozenset(row[3])) for row in _DATA["techniques"]}
)
"""By id, in order."""
REVOKED: Mapping[str, str] = MappingProxyType(dict(_DATA["revoked"]))
"""Ids of former techniques, each with the id of the technique that replaces it."""


TACTIC_TAGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {f"mitre_{tactic.key.replace('-', '_')}": (tactic.id, tactic.name) for tactic in TACTICS.values()}
)
"""Tag to id and name, in the order of the matrix."""
_FORMER = {"mitre_defense_evasion": "mitre_stealth"}
"""Tags of tactics that ATT&CK has renamed; the rules of others still use them."""
TECHNIQUE_TAGS: Mapping[str, str] = MappingProxyType({each.id: each.name for each in TECHNIQUES.values()})
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
    found = TECHNIQUES.get(technique)
    return list(found.tactics) if found else []


def link(tag: str) -> str | None:
    """Return the URL of a tag's ATT&CK page; None if it has none."""
    named = _tactic(tag) or _technique(tag)
    return named.link if named else None


def _tactic(tag: str) -> AttackName | None:
    found = TACTIC_TAGS.get(_FORMER.get(tag.lower(), tag.lower()))
    return AttackName(*found, f"https://attack.mitre.org/tactics/{found[0]}/") if found else None


def _technique(tag: str) -> AttackName | None:
    if not _TECHNIQUE.fullmatch(tag):
        return None
    current = REVOKED.get(tag, tag)
    page = current.replace(".", "/")
    return AttackName(current, TECHNIQUE_TAGS.get(current, ""), f"https://attack.mitre.org/techniques/{page}/")
