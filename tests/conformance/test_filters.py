from typing import Any

import pytest

from processor.language.ast import And, Check, Literal, MacroRef, Node, Not, Or, ValueList
from processor.language.parser import parse
from processor.language.printer import print_condition, print_operand
from processor.language.tokens import ConditionError
from processor.loading import LoadResult, RuleFile, load_rules
from tests.conformance.cases import Case, count_left_out, each_case

_BLANKS = ("\n", "\t", "  ", " \n\t ")


def _is_condition(text: str) -> bool:
    try:
        parse(text)
    except ConditionError:
        return False
    return True


@each_case("filters")
def test_condition_text(case: Case) -> None:
    """A text is a condition if and only if Falco's parser accepts it, and its printed form parses to the same tree."""
    is_parsed = case["expect"] != "parse_error"

    assert _is_condition(case["filter"]) is is_parsed
    if case.get("whitespace_variants"):
        for blank in _BLANKS:
            assert _is_condition(case["filter"].replace(" ", blank)) is is_parsed
    if is_parsed:
        tree = parse(case["filter"])
        assert parse(print_condition(tree)) == tree
        if "ast" in case:
            assert _described(tree) == case["ast"]
    elif "message" in case:
        with pytest.raises(ConditionError) as error:
            parse(case["filter"])
        assert case["message"] in error.value.message


def _of_a_plugin(case: Case) -> str | None:
    return "it is on fields of a plugin" if case.get("falco") is None and case["level"] == "parse" else None


def test_only_so_many_cases_are_left_out() -> None:
    """Cases on plugin fields, which are not kernel events, are skipped."""
    assert count_left_out("filters", _of_a_plugin) == {"it is on fields of a plugin": 6}


@each_case("filters", _of_a_plugin)
def test_condition_of_a_rule(case: Case) -> None:
    """A rule with the condition loads, fails and warns as in Falco."""
    falco: dict[str, Any] | None = case.get("falco")
    text = case["cli"]["condition"] if "cli" in case else case["filter"]
    result = _load(text, case.get("cli", {}).get("define_macros", []))
    expect_ok = falco["ok"] if falco is not None else case["expect"] == "ok"

    assert result.ok is expect_ok, [problem.message for problem in result.errors]
    if falco is not None and not expect_ok:
        assert {problem.code.name for problem in result.errors} == {"LOAD_ERR_COMPILE_CONDITION"}
    if expect_ok:
        _compare_warnings(case, falco, result)


def _load(condition: str, macros: list[str]) -> LoadResult:
    items = [f"- macro: {name}\n  condition: evt.type = open\n" for name in macros]
    quoted = "".join(_yaml_escape(char) for char in condition)
    items.append(f'- rule: r\n  desc: d\n  condition: "{quoted}"\n  output: o\n  priority: INFO\n')
    return load_rules([RuleFile("rules.yaml", "".join(items))])


def _yaml_escape(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08x}"


def _compare_warnings(case: Case, falco: dict[str, Any] | None, result: LoadResult) -> None:
    codes = [problem.code.name for problem in result.warnings]
    if falco is not None:
        # That engine also warned of conditions that no event type can match; the one that counts doesn't.
        ignored = {"LOAD_NO_EVTTYPE"} if result.rules and not result.rules[0].event_types else set()
        assert set(codes) == set(falco["warnings"]) - ignored
    if "compile_warnings" in case:
        assert codes.count("LOAD_COMPILE_CONDITION") == case["compile_warnings"]
    if case.get("falco_warning"):
        assert case["falco_warning"] in codes


def _described(node: Node) -> Any:
    if isinstance(node, And | Or):
        return {"and" if isinstance(node, And) else "or": [_described(child) for child in node.children]}
    if isinstance(node, Not):
        return {"not": _described(node.child)}
    if isinstance(node, MacroRef):
        return {"identifier": node.name}
    assert isinstance(node, Check)
    side = {"field": print_operand(node.left)}
    check: dict[str, Any] = {"check": side, "op": " ".join(filter(None, (node.operator, node.modifier)))}
    if isinstance(node.right, ValueList):
        check["right"] = {"list": [item.text for item in node.right.items]}
    elif isinstance(node.right, Literal):
        check["right"] = {"value": node.right.text}
    return check
