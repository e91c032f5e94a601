import re
from pathlib import Path

from lanner.ruletest.reading import read_suite
from lanner.ruletest.running import RuleSet, Runner
from processor.loading import RuleFile, load_rules

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "rules.md").read_text(), re.DOTALL)


def test_the_page_s_rule_passes_the_page_s_test() -> None:
    """What people copy first has to work."""
    [rule] = [block for block in BLOCKS if block.startswith("- list: backup_programs")]
    [test] = [block for block in BLOCKS if block.startswith("shared:")]
    result = load_rules([RuleFile("page.yaml", rule)])
    suite, problems = read_suite("page_test.yaml", test)

    assert (result.errors, problems) == ((), ())
    runner = Runner(suite, RuleSet(result.rules), "first", lambda _path: ())
    assert [runner.run(case).failures for case in suite.cases] == [(), ()]


def test_the_page_s_exception_fits_the_shipped_rule() -> None:
    """It is active, and loading it reports no errors or warnings."""
    [exception] = [block for block in BLOCKS if "our_deployment" in block]
    shipped = RuleFile("lanner_rules.yaml", (ROOT / "rules" / "lanner_rules.yaml").read_text())

    result = load_rules([shipped, RuleFile("page.yaml", exception)])

    assert (result.errors, result.warnings) == ((), ())
    [rule] = [rule for rule in result.rules if rule.name == "Write below binary directory"]
    assert rule.active_exceptions == ("our_deployment",)
