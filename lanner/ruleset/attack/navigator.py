"""Coverage as a layer of ATT&CK Navigator, format version 4.5.

Source: https://github.com/mitre-attack/attack-navigator, layers/spec/v4.5/layerformat.md.
"""

from typing import Any

from lanner.ruleset.attack.coverage import AttackCoverage, CoveredTechnique
from schemas.catalogue.attack import VERSION

_NAVIGATOR = "5.1.0"
_LAYER = "4.5"
_COLORS = ("#d9f0d3", "#1b7837")
_MAX_COMMENT = 1000


def layer(coverage: AttackCoverage, name: str) -> dict[str, Any]:
    """Return a layer: the score of a technique is the number of its rules. It lacks what ATT&CK doesn't have.

    Args:
        coverage: of the rules.
        name: of the layer.
    """
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
