from dataclasses import replace
from pathlib import Path

from lanner.ruleset.compile import active_text
from lanner.settings import Settings
from lanner.settings.sections.model import Selection, Target
from lanner.wiring.rules import load_detection
from schemas.filter import PROGRAM_FILES

CONNECT = "- rule: Connect\n  desc: d\n  condition: evt.type = connect\n  output: o\n  priority: INFO\n"


def test_what_to_try_is_suggested_only_if_a_rule_would_alert(tmp_path: Path) -> None:
    """The shipped rules do; a file of one's own need not, nor rules that are off."""
    own = tmp_path / "mine.yaml"
    own.write_text(CONNECT)
    off = (Selection(disable=Target(rule="Read sensitive file*")),)

    found = [
        load_detection(settings, warnings=False).detects_shadow_read()
        for settings in (
            Settings(),
            replace(Settings(), rules_files=(str(own),)),
            replace(Settings(), rules=off),
            replace(Settings(), priority="critical"),
        )
    ]

    assert found == [True, False, False, False]


def test_the_text_on_active_rules_counts_those_that_are_off(tmp_path: Path) -> None:
    """One rule is not `1 rules`."""
    own = tmp_path / "mine.yaml"
    own.write_text(CONNECT)
    one = replace(Settings(), rules_files=(str(own),))
    none = replace(one, rules=(Selection(disable=Target(rule="*")),))

    assert active_text(load_detection(one)) == f"1 rule from {own} active"
    assert active_text(load_detection(none)).startswith(
        f"0 rules from {own} active, 1 off in their files or by settings"
    )


def test_counting_hosts_by_digest_makes_the_collector_read_programs(tmp_path: Path) -> None:
    """Although neither the condition nor the output of the rule names a fact about the file; other rules need none."""
    own = tmp_path / "mine.yaml"
    macro = "- macro: rare\n  condition: evt.type = execve\n  correlation:\n"
    macro += "    {type: prevalence, group-by: [proc.exe.sha256], lookback: 30d, condition: {lt: 3}}\n"
    found = []
    for text in (CONNECT, macro + CONNECT, macro + CONNECT.replace("evt.type = connect", "rare")):
        own.write_text(text)
        detection = load_detection(replace(Settings(), rules_files=(str(own),)), warnings=False)
        found.append((PROGRAM_FILES in detection.pushdown_filter.variables, sorted(detection.event_types)))

    assert found == [(False, ["connect"]), (False, ["connect"]), (True, ["execve"])]
