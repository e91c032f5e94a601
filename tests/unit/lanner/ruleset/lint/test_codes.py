import pytest

from lanner.ruleset.load import validate_files
from processor.loading import RuleFile

RULE = """
- rule: r{item}
  desc: d{desc}
  condition: >{block}
    evt.type = openat and
    proc.name = nginx-ingress-controller
  output: o
  priority: INFO
  tag: x{key}
"""
LONG = "LINT_LONG_NAME"
KEY = "LOAD_UNKNOWN_KEY"


def codes(**comments: str) -> list[str]:
    """Return the codes that remain if a rule has comments."""
    places = {"item": "", "desc": "", "block": "", "key": ""} | comments
    result = validate_files((), [RuleFile("r.yaml", RULE.format_map(places))])
    return [problem.code.name for problem in (*result.errors, *result.warnings)]


@pytest.mark.parametrize(
    ("place", "comment", "rest"),
    [
        ("item", "  # lanner: ignore[LINT_LONG_NAME]", [KEY]),
        ("item", "  # lanner: ignore[LOAD_UNKNOWN_KEY, LINT_LONG_NAME]", []),
        ("block", "  # lanner: ignore[LINT_LONG_NAME]", [KEY]),
        ("key", "  # lanner:ignore[LOAD_UNKNOWN_KEY] because", [LONG]),
        ("block", "  # lanner: ignore[LOAD_UNKNOWN_KEY]", [KEY, LONG]),
        ("desc", "\n  # lanner: ignore[LINT_LONG_NAME]", [KEY]),
        ("desc", "  # lanner: ignore[LINT_LONG_NAME]", [KEY, LONG]),
        ("key", "\n- list: l  # lanner: ignore[LINT_LONG_NAME]\n  items: []", [KEY, "LOAD_UNUSED_LIST", LONG]),
    ],
)
def test_a_comment_applies_to_its_place(place: str, comment: str, rest: list[str]) -> None:
    """To a line, a text or an item; also to Falco's warnings."""
    assert sorted(codes(**{place: comment})) == sorted(rest)


def test_errors_that_keep_rules_from_loading_can_not_be_ignored() -> None:
    """Nor codes that don't exist; both are reported."""
    text = "- macro: m  # lanner: ignore[LOAD_ERR_COMPILE_CONDITION, LINT_LONG]\n  condition: a.b\n"
    result = validate_files((), [RuleFile("r.yaml", text)])
    assert [problem.code.name for problem in result.errors] == ["LOAD_ERR_COMPILE_CONDITION"]
    assert [(problem.column, problem.hint) for problem in result.warnings] == [
        (30, "did you mean 'LOAD_COMPILE_CONDITION'?"),
        (58, "did you mean 'LINT_LONG_NAME'?"),
    ]
