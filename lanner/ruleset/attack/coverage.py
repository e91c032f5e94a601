"""Which techniques of ATT&CK's matrices rules name in their tags, and which techniques have no rule. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from notifier.formats.mitre import techniques
from processor.loading import Rule
from schemas.catalogue.attack import TACTICS, TECHNIQUES, AttackTactic, AttackTechnique

PLATFORMS = ("Linux", "Containers")
"""Whose matrices are compared with the rules."""


@dataclass(frozen=True, slots=True)
class CoveredTechnique:
    """A technique or subtechnique, and the enabled rules with its id among their tags."""

    technique: AttackTechnique
    rules: tuple[str, ...]

    @property
    def is_known(self) -> bool:
        """Whether the table of ATT&CK has it."""
        return self.technique.id in TECHNIQUES


@dataclass(frozen=True, slots=True)
class TacticCoverage:
    """How many techniques of a tactic have a rule; subtechniques count as techniques."""

    tactic: AttackTactic
    covered: int
    total: int


@dataclass(frozen=True, slots=True)
class AttackCoverage:
    """What rules cover of the matrices of some platforms."""

    platforms: tuple[str, ...]
    covered: tuple[CoveredTechnique, ...]
    """By id, including techniques that the table lacks."""
    gaps: tuple[AttackTechnique, ...]
    """Techniques of the platforms without a rule of their own, of their technique, or of one of their subtechniques."""
    tactics: tuple[TacticCoverage, ...]
    """In the order of the matrix."""


def attack_coverage(rules: Iterable[Rule], platforms: Sequence[str] = PLATFORMS) -> AttackCoverage:
    """Compare rules with the matrices of platforms.

    Args:
        rules: disabled ones are left out.
        platforms: by ATT&CK's names.
    """
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
