from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.sigma.convert import convert
from lanner.sigma.rules import file_text
from processor.loading import RuleFile, load_rules
from tests.unit.lanner.sigma.converted import rule

FULL = """
title: "Odd: 100% of it"
id: 00000000-0000-4000-8000-000000000001
status: deprecated
description: |
    Finds a thing.
    On two lines
author: A. Uthor, B. Uthor
date: 2024-01-02
tags: [attack.privilege-escalation, attack.t1053.002, attack.g0001, cve.2021-4034]
logsource: {product: linux, category: process_creation}
detection:
  selection:
    CommandLine|contains: ["a 'quoted' \\"text\\" that is long enough to make the line be folded somewhere", 'b  c']
  condition: selection
falsepositives: [Unknown, Backups.]
level: medium
"""


def test_texts_priority_tags_and_attribution_are_taken_over(tmp_path: Path) -> None:
    """The author is in the description as well, because alerts have to name them."""
    (tmp_path / "LICENSE").write_text("the Detection Rule License (DRL) 1.1")
    path = tmp_path / "rules" / "linux" / "odd.yml"
    path.parent.mkdir(parents=True)
    path.write_text(FULL)
    text = file_text("Test", convert([tmp_path]).rules)

    loaded = load_rules([RuleFile("sigma.yaml", text)])
    assert not (*loaded.errors, *loaded.warnings)
    (made,) = loaded.rules
    assert (made.name, made.priority.name, made.enabled) == ("Odd: 100% of it", "WARNING", False)
    technique = ("mitre_privilege_escalation", "T1053.002")
    assert set(made.tags) == {"sigma", "process_creation", *technique, "attack.g0001", "cve.2021-4034"}
    assert made.description == (
        "Finds a thing. On two lines. Sigma rule 00000000-0000-4000-8000-000000000001 by A. Uthor, B. Uthor."
    )
    assert made.response == "Known false positives: Backups."
    assert "# Sigma rule 00000000-0000-4000-8000-000000000001, by A. Uthor, B. Uthor, 2024-01-02\n" in text
    assert "# https://github.com/SigmaHQ/sigma/blob/master/rules/linux/odd.yml\n" in text
    assert "# License: Detection Rule License (DRL) 1.1" in text


def test_a_rule_outside_of_sigmahqs_repository_has_its_own_licence(tmp_path: Path) -> None:
    """Its file is named instead of a link."""
    path = tmp_path / "mine.yml"
    path.write_text(rule("Image: /a") + "license: MIT\n")
    text = file_text("Test", convert([path]).rules)
    assert f"# {path}\n# License: MIT\n" in text


def test_severe_and_narrow_rules_come_first(tmp_path: Path) -> None:
    """The first that matches an event makes its alert, so that a wide one before hides the others."""
    wide = rule("Image: /a", name="wide").replace("level: high", "level: low")
    narrow = rule("Image: /a\nUser: root", name="narrow", number=2)
    (tmp_path / "a.yml").write_text(wide)
    (tmp_path / "b.yml").write_text(rule("Image: /b", name="other", number=3))
    (tmp_path / "c.yml").write_text(narrow)
    assert [each.name for each in convert([tmp_path]).rules] == ["narrow", "other", "wide"]


def test_rules_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    """Names of rules are unique in Lanner."""
    (tmp_path / "a.yml").write_text(rule("Image: /a") + "---" + rule("Image: /b", number=2).replace("id: 0", "id: 1"))
    assert [each.name for each in convert([tmp_path]).rules] == ["one (00000000)", "one (10000000)"]

    (tmp_path / "a.yml").write_text("---".join(rule(f"Image: /{name}").replace("id: 0", "#: 0") for name in "ab"))
    assert [each.name for each in convert([tmp_path]).rules] == ["one", "one 2"]


def test_a_file_that_several_paths_name_is_converted_once(tmp_path: Path) -> None:
    """As a folder and a folder in it."""
    (tmp_path / "a.yml").write_text(rule("Image: /a"))
    assert len(convert([tmp_path, tmp_path / "a.yml"]).rules) == 1


def test_rules_for_other_products_are_counted(tmp_path: Path) -> None:
    """A rule without a product is taken if its events exist; other YAML is left alone."""
    (tmp_path / "a.yml").write_text(rule("Image: /a").replace("product: linux", "product: windows"))
    (tmp_path / "b.yml").write_text(rule("Image: /a").replace("product: linux, ", ""))
    (tmp_path / "c.yml").write_text(rule("Image: /a", "category: proxy").replace("product: linux, ", ""))
    (tmp_path / "d.yaml").write_text("name: a pipeline\npriority: 3\n")
    (tmp_path / "e.txt").write_text("no rule")
    result = convert([tmp_path])
    assert (len(result.rules), result.rejected, result.others) == (1, [], 2)


def test_a_filter_is_applied_to_its_rule(tmp_path: Path) -> None:
    """As pySigma does."""
    (tmp_path / "a.yml").write_text(rule("Image: /a"))
    (tmp_path / "f.yml").write_text(
        "title: f\nlogsource: {product: linux, category: process_creation}\n"
        "filter:\n  rules: [one]\n  ours: {User: backup}\n  condition: not ours\n"
    )
    (made,) = convert([tmp_path]).rules
    assert made.condition.endswith("tolower(proc.exepath) = /a and not tolower(user.name) = backup")


def test_a_rule_that_pysigma_refuses_is_rejected(tmp_path: Path) -> None:
    """By its id, with pySigma's reason; the others are converted."""
    bad = rule("Image|nosuch: /a", number=2)
    (tmp_path / "a.yml").write_text(bad + "---" + rule("Image: /a"))
    result = convert([tmp_path])
    assert [each.name for each in result.rules] == ["one"]
    (rejected,) = result.rejected
    assert rejected.rule == "00000000-0000-4000-8000-000000000002"
    assert "nosuch" in rejected.reason


def test_a_file_that_is_not_yaml_is_bad_input(tmp_path: Path) -> None:
    """With its name; in a folder, the others are converted."""
    (tmp_path / "a.yml").write_text("a: [")
    (tmp_path / "b.yml").write_text(rule("Image: /a"))
    with pytest.raises(BadInput, match=r"a\.yml: not YAML"):
        convert([tmp_path / "a.yml"])
    result = convert([tmp_path])
    assert [each.name for each in result.rules] == ["one"]
    assert "not YAML" in result.rejected[0].reason


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("condition: selection", "condition: -1", "pySigma can't read it"),
        ("id: 00000000-0000-4000-8000-000000000001", "id: [1]", "pySigma can't read it"),
        ("Image: /a", f"Image: {'a' * 3000}", "the value is longer"),
    ],
)
def test_what_pysigma_or_lanner_fails_on_is_rejected(tmp_path: Path, old: str, new: str, reason: str) -> None:
    """Odd input is no internal error."""
    (tmp_path / "a.yml").write_text(rule("Image: /a").replace(old, new))
    (rejected,) = convert([tmp_path]).rejected
    assert reason in rejected.reason
