from dataclasses import replace

import pytest

from processor.loading import RuleFile, load_rules
from processor.loading.difference import difference, enabled, lines
from processor.loading.rules import LoadResult

BASE = """
- list: shells
  items: [bash, sh]
- macro: by_shell
  condition: proc.name in (shells)
- macro: many
  condition: evt.type = openat
  correlation: {type: event_count, group-by: [fd.name], timespan: 1m, condition: {gte: 3}}
- rule: Alpha
  desc: one
  condition: evt.type = openat and by_shell
  exceptions: [{name: known, fields: [fd.name], values: [[/a]]}]
  output: alpha %fd.name
  priority: NOTICE
  tags: [x]
- rule: Beta
  desc: two
  condition: evt.type = connect
  output: beta
  priority: WARNING
"""
GAMMA = "\n- rule: Gamma\n  desc: x\n  condition: evt.type = bind\n  output: x\n  priority: INFO\n"


def loaded(text: str) -> LoadResult:
    """Load one file without errors."""
    result = load_rules([RuleFile("x.yaml", text)])
    assert result.ok, result.errors
    return result


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("evt.type = connect", "evt.type = bind", "~ rule Beta: condition changed"),
        ("WARNING", "ERROR", "~ rule Beta: priority Error instead of Warning"),
        ("output: beta", "output: b", "~ rule Beta: output changed"),
        ("output: beta", "enabled: false\n  output: beta", "~ rule Beta: disabled"),
        ("output: beta", "suppress: {by: [fd.name], for: 1m}\n  output: beta", "~ rule Beta: suppress changed"),
        ("[[/a]]", "[[/a], [/b]]", "~ rule Alpha: exceptions changed"),
        ("values: [[/a]]", "values: []", "~ rule Alpha: exceptions changed"),
        ("tags: [x]", "tags: [y]", "~ rule Alpha: tags changed"),
        ("desc: two", "desc: deux", "~ rule Beta: description changed"),
        ("desc: two", "desc: two\n  response: look", "~ rule Beta: response changed"),
        ("in (shells)", "= bash", "~ macro by_shell: condition changed"),
        ("{gte: 3}", "{gte: 4}", "~ macro many: correlation changed"),
        ("[bash, sh]", "[bash]", "~ list shells: items changed"),
        ("rule: Beta", "rule: Delta", "- rule Beta removed|+ rule Delta added"),
        ("evt.type = connect", "evt.type  =   connect", ""),
    ],
)
def test_each_change_is_one_line(old: str, new: str, line: str) -> None:
    """A difference in formatting is not a change."""
    changes = difference(loaded(BASE), loaded(BASE.replace(old, new)))
    assert [change.text for change in changes] == [each for each in line.split("|") if each]


def test_several_changes_of_a_rule_stand_together() -> None:
    """All changes of one item are on one line."""
    changed = BASE.replace("WARNING", "ERROR").replace("evt.type = connect", "evt.type = bind")
    (change,) = difference(loaded(BASE), loaded(changed))
    assert change.text == "~ rule Beta: condition changed, priority Error instead of Warning"


def test_rules_come_before_what_they_use() -> None:
    """Added items follow the existing ones."""
    new = BASE.replace("[bash, sh]", "[bash]").replace("WARNING", "ERROR") + GAMMA
    assert [change.text.split(":")[0] for change in difference(loaded(BASE), loaded(new))] == [
        "~ rule Beta",
        "+ rule Gamma added",
        "~ list shells",
    ]


def test_a_rule_that_settings_disable_is_a_change() -> None:
    """Switches in the settings count as changes, even if the files are the same."""
    old = loaded(BASE)
    new = replace(old, rules=tuple(replace(rule, enabled=False) for rule in old.rules))
    assert [change.text for change in difference(old, new)] == ["~ rule Alpha: disabled", "~ rule Beta: disabled"]
    assert (enabled(old.rules), enabled(new.rules)) == (2, 0)


def test_changes_over_the_limit_are_counted() -> None:
    """The number of lines is limited, so that a new rule set does not fill a screen or an alert."""
    changes = difference(loaded(GAMMA), loaded(BASE))
    assert lines(changes, 2) == ("- rule Gamma removed", "+ rule Alpha added", "… and 4 more changes")
    assert len(lines(changes, len(changes))) == len(changes)
