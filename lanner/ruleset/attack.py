"""Which techniques of ATT&CK's matrices rules name in their tags, and which techniques have no rule. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from processor.loading import Rule
from schemas.catalog.attack import TACTICS, TECHNIQUES, VERSION, AttackTactic, AttackTechnique, techniques

PLATFORMS = ("Linux", "Containers")
"""The platforms whose matrices are compared with the rules."""


@dataclass(frozen=True, slots=True)
class CoveredTechnique:
    """A technique or subtechnique, and the enabled rules with its id among their tags."""

    technique: AttackTechnique
    rules: tuple[str, ...]

    @property
    def is_known(self) -> bool:
        """True if the table of ATT&CK has it."""
        return self.technique.id in TECHNIQUES


@dataclass(frozen=True, slots=True)
class TacticCoverage:
    """How many techniques of a tactic have a rule; subtechniques count as techniques."""

    tactic: AttackTactic
    covered: int
    total: int


@dataclass(frozen=True, slots=True)
class AttackCoverage:
    """The part of some platforms' matrices that rules cover."""

    platforms: tuple[str, ...]
    covered: tuple[CoveredTechnique, ...]
    """By id, including techniques that the table lacks."""
    gaps: tuple[AttackTechnique, ...]
    """Techniques of the platforms without a rule of their own, of their technique, or of one of their subtechniques."""
    tactics: tuple[TacticCoverage, ...]
    """In the order of the matrix."""


def attack_coverage(rules: Iterable[Rule], platforms: Sequence[str] = PLATFORMS) -> AttackCoverage:
    """Compare the enabled rules with the matrices of platforms, which are named as ATT&CK does."""
    found: dict[str, list[str]] = {}
    for rule in rules:
        for name in techniques(rule.tags) if rule.enabled else ():
            found.setdefault(name.id, []).append(rule.name)
    covered = tuple(
        CoveredTechnique(TECHNIQUES.get(id_, AttackTechnique(id_, "", (), frozenset())), tuple(names))
        for id_, names in sorted(found.items())
    )
    related = found.keys() | {each.technique.parent for each in covered}
    matrix = [each for each in TECHNIQUES.values() if not each.platforms.isdisjoint(platforms)]
    gaps = tuple(each for each in matrix if each.id not in related and each.parent not in found)
    open_ids = {each.id for each in gaps}
    tactics = []
    for tactic in TACTICS.values():
        own = [each for each in matrix if tactic.id in each.tactics]
        tactics.append(TacticCoverage(tactic, sum(each.id not in open_ids for each in own), len(own)))
    return AttackCoverage(tuple(platforms), covered, gaps, tuple(each for each in tactics if each.total))


_NAVIGATOR = "5.1.0"
_LAYER = "4.5"
_COLORS = ("#d9f0d3", "#1b7837")
_MAX_COMMENT = 1000


def layer(coverage: AttackCoverage, name: str) -> dict[str, Any]:
    """Return a layer: the score of a technique is the number of its rules. It lacks what ATT&CK doesn't have."""
    known = [each for each in coverage.covered if each.is_known]
    parents = {each.technique.parent for each in known} - {""}
    cells = {each.technique.id: _cell(each) for each in known}
    for parent in sorted(parents):
        cells.setdefault(parent, {"techniqueID": parent})["showSubtechniques"] = True
    most = max((len(each.rules) for each in known), default=1)
    return {
        "name": name,
        "versions": {"attack": VERSION.partition(".")[0], "navigator": _NAVIGATOR, "layer": _LAYER},
        "domain": "enterprise-attack",
        "description": "Techniques that the enabled rules name; the score is the number of rules.",
        "filters": {"platforms": list(coverage.platforms)},
        "sorting": 0,
        "techniques": [cells[id_] for id_ in sorted(cells)],
        "gradient": {"colors": list(_COLORS), "minValue": 0, "maxValue": max(most, 1)},
        "legendItems": [{"label": "has rules", "color": _COLORS[1]}],
    }


def _cell(covered: CoveredTechnique) -> dict[str, Any]:
    comment = "; ".join(covered.rules)
    return {
        "techniqueID": covered.technique.id,
        "score": len(covered.rules),
        "enabled": True,
        "comment": comment if len(comment) <= _MAX_COMMENT else f"{comment[: _MAX_COMMENT - 1]}…",
        "metadata": [{"name": "rule", "value": rule} for rule in covered.rules],
    }
