"""MITRE ATT&CK: the tactics and techniques of the enterprise matrix.

`deploy/docs/attack.py` writes the table, `schemas/catalogue_attack.json`, from MITRE's own files.
"""

import json
from collections.abc import Mapping
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
