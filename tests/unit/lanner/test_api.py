import re
import subprocess
import sys
from pathlib import Path

import pytest

import lanner
from lanner import load_rules

PAGE = Path(__file__).parents[3] / "docs" / "python-api.md"
RULES = """
- rule: One
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow
  output: "%proc.name reads %fd.name (%k8s.pod.name)"
  priority: WARNING
  tags: [files]
- rule: Two
  desc: d
  condition: evt.type in (openat, close) and proc.name = cat
  output: two
  priority: NOTICE
- rule: Off
  desc: d
  condition: evt.type = openat
  output: off
  priority: NOTICE
  enabled: false
"""
EVENT = {"evt.type": "openat", "fd.name": "/etc/shadow", "proc.name": "cat"}


def test_the_example_of_the_page_runs() -> None:
    """The page's example prints what the page shows."""
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)

    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert f"    # {lines[0]}\n" in example
    assert "false sshd" not in lines
    assert lines[-1].startswith("<text> 1 ")
    assert "did you mean 'fd.name'?" in lines[-1]


def test_the_package_is_light_until_the_engine_is_requested() -> None:
    """Every start of the command line imports the package."""
    code = "import sys, lanner; assert not {'processor', 'yaml', 'schemas'} & set(sys.modules); lanner.load_rules"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(lanner, "nonsense")  # noqa: B009


def test_an_event_gives_the_matches_of_all_rules_that_are_on() -> None:
    """Matches are in order, with outputs filled in; a missing value is None."""
    rules = load_rules(text=RULES)

    one, two = rules.matches(EVENT)

    assert (one.rule, one.priority, one.tags) == ("One", "Warning", ("files",))
    assert one.output == "cat reads /etc/shadow (<NA>)"
    assert one.output_fields == {"proc.name": "cat", "fd.name": "/etc/shadow", "k8s.pod.name": None}
    assert two.rule == "Two"
    assert [match.rule for match in rules.matches(EVENT, matching="first")] == ["One"]
    assert rules.matches({"fd.name": "/etc/shadow"}) == []
    assert rules.matches(EVENT | {"evt.source": "k8s_audit"}) == []


def test_an_audit_event_needs_no_type() -> None:
    """Only rules of its source are evaluated."""
    audit = "{rule: Exec, desc: d, condition: ka.verb in (get), output: x, priority: ERROR, source: k8s_audit}"
    rules = load_rules(text=[RULES, f"[{audit}]"])

    assert [match.rule for match in rules.matches({"evt.source": "k8s_audit", "ka.verb": "get"})] == ["Exec"]


def test_rules_are_turned_on_and_off() -> None:
    """By name and tag; the original rules are unchanged."""
    rules = load_rules(text=RULES)

    assert [match.rule for match in rules.disable().enable("O*").matches(EVENT)] == ["One", "Off"]
    assert [match.rule for match in rules.disable(tag="files").matches(EVENT)] == ["Two"]
    assert len(rules.matches(EVENT)) == 2


def test_whatever_is_wrong_is_a_value(tmp_path: Path) -> None:
    """Missing files are errors too; with errors there are no rules."""
    rules = load_rules(tmp_path / "absent.yaml", text=["- rule: [", RULES])

    assert not rules.ok
    assert [error.file for error in rules.errors] == [str(tmp_path / "absent.yaml"), "<text 1>"]
    assert (rules.rules, rules.matches(EVENT)) == ((), [])


def test_files_folders_and_texts_count_in_their_order(tmp_path: Path) -> None:
    """Later ones may change rules of earlier ones."""
    (tmp_path / "a.yaml").write_text(RULES)

    rules = load_rules(tmp_path, text="- {rule: One, enabled: false, override: {enabled: replace}}")

    assert [match.rule for match in rules.matches(EVENT)] == ["Two"]


def test_a_match_can_be_explained() -> None:
    """An unknown rule raises KeyError."""
    rules = load_rules(text=RULES)

    assert rules.explain("One", EVENT).is_true
    with pytest.raises(KeyError, match="Nine"):
        rules.explain("Nine", EVENT)
