import json
from typing import Any

from jsonschema import Draft202012Validator

from lanner.ruleset.attack import attack_coverage, layer
from tests.unit.lanner.ruleset.rulesets import tagged

TEXT: dict[str, Any] = {"type": "string"}
COLOR = {"type": "string", "pattern": "^#[0-9a-f]{6}$"}


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


METADATA = {"type": "array", "items": _object("name value", name=TEXT, value=TEXT)}
LAYER = _object(
    "name domain versions",
    name=TEXT,
    description=TEXT,
    domain={"enum": ["enterprise-attack", "mobile-attack", "ics-attack"]},
    versions=_object("navigator layer", attack=TEXT, navigator=TEXT, layer={"const": "4.5"}),
    filters=_object(platforms={"type": "array", "items": TEXT}),
    sorting={"enum": [0, 1, 2, 3]},
    techniques={
        "type": "array",
        "items": _object(
            "techniqueID",
            techniqueID={"type": "string", "pattern": r"^T\d{4}(\.\d{3})?$"},
            tactic=TEXT,
            comment=TEXT,
            enabled={"type": "boolean"},
            score={"type": "number"},
            color=COLOR,
            metadata=METADATA,
            showSubtechniques={"type": "boolean"},
        ),
    },
    gradient=_object(
        "colors minValue maxValue",
        colors={"type": "array", "items": COLOR, "minItems": 2},
        minValue={"type": "number"},
        maxValue={"type": "number"},
    ),
    legendItems={"type": "array", "items": _object("label color", label=TEXT, color=COLOR)},
)
"""The properties that a layer uses, with their types. Source: ATT&CK Navigator, layers/spec/v4.5/layerformat.md."""


def test_a_layer_has_the_format_that_navigator_reads() -> None:
    """With and without rules; the largest score is greater than the smallest."""
    for rules in ((), tagged(a="T1059.004", b="T1059.004 T1098 T9999")):
        made = layer(attack_coverage(rules), "Lanner")
        Draft202012Validator(LAYER).validate(json.loads(json.dumps(made)))
        assert made["gradient"]["maxValue"] > made["gradient"]["minValue"]


def test_the_score_is_the_number_of_rules() -> None:
    """The rules are in the comment; a subtechnique's technique is opened, without a score."""
    cells = layer(attack_coverage(tagged(a="T1059.004", b="T1059.004 T1098")), "Lanner")["techniques"]
    assert [(each["techniqueID"], each.get("score"), each.get("comment")) for each in cells] == [
        ("T1059", None, None),
        ("T1059.004", 2, "a; b"),
        ("T1098", 1, "b"),
    ]
    assert cells[0]["showSubtechniques"] is True


def test_a_comment_is_short() -> None:
    """However many rules there are; the metadata have all of them."""
    many = {f"rule_number_{number}": "T1098" for number in range(200)}
    (cell,) = layer(attack_coverage(tagged(**many)), "Lanner")["techniques"]
    assert len(cell["comment"]) == 1000
    assert len(cell["metadata"]) == 200
