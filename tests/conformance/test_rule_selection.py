from processor.loading import RuleFile, load_rules
from processor.loading.rules import Switch, select
from tests.conformance.cases import Case, each_case


@each_case("rule_selection")
def test_rules_that_are_on(case: Case) -> None:
    """Switches enable the same rules as in Falco."""
    result = load_rules([RuleFile(file["name"], file["yaml"]) for file in case["files"]])
    switches = [Switch(action == "enable", by, pattern) for action, by, pattern in case["options"]["rules"]]

    assert [rule.name for rule in select(result.rules, switches)] == case["expect"]["enabled_rules"]
