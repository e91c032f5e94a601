"""Tests of the keys of rules that only Lanner has."""

from processor.loading import LoadResult, RuleFile, load_rules

RULE = "- rule: R\n  desc: d\n  condition: evt.type = open\n  output: o\n  priority: INFO\n  response: Look there.\n"


def load(*texts: str) -> LoadResult:
    """Load files."""
    return load_rules([RuleFile(f"{number}.yaml", text) for number, text in enumerate(texts)])


def test_a_response_is_read_and_replaced() -> None:
    """A later file may give site-specific advice; a rule without one has an empty response."""
    replaced = load(RULE, "- rule: R\n  response: Call Ann.\n  override: {response: replace}\n")

    assert [rule.response for rule in load(RULE).rules] == ["Look there."]
    assert [rule.response for rule in load(RULE.replace("  response: Look there.\n", "")).rules] == [""]
    assert [rule.response for rule in replaced.rules] == ["Call Ann."]
    assert replaced.ok


def test_a_response_that_is_not_a_text_or_is_appended_is_an_error() -> None:
    """The location is that of the key."""
    wrong = (
        load(RULE.replace("Look there.", "[a, b]")),
        load(RULE, "- rule: R\n  response: Call Ann.\n  override: {response: append}\n"),
        load(RULE, "- rule: R\n  response: Call Ann.\n  condition: and x\n  append: true\n"),
    )

    assert [result.errors[0].message for result in wrong] == [
        "Value is not a scalar value",
        "Key 'response' cannot be appended to, use 'replace' instead",
        "Key 'response' cannot be appended to, use 'replace' instead",
    ]
