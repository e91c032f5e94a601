import re
from pathlib import Path

import pytest

from lanner.recorder.search import BadCondition, SearchProblem, compile_search
from processor.loading import RuleFile

RULES = RuleFile(
    "rules.yaml",
    """
- list: readers
  items: [cat, head]
- macro: reading
  condition: evt.type = openat and proc.name in (readers)
- macro: many_reads
  condition: reading
  correlation: {type: event_count, group-by: [proc.pid], timespan: 1m, condition: {gte: 5}}
- rule: Many reads
  desc: d
  output: o
  priority: notice
  condition: many_reads
""",
)


def problem(text: str, *files: RuleFile) -> SearchProblem:
    """Return the only problem of a condition."""
    with pytest.raises(BadCondition) as raised:
        compile_search(text, files)
    (found,) = raised.value.problems
    return found


def test_an_unknown_field_is_reported_as_by_rules_validate() -> None:
    """With line and column in the text as it was given, and what was probably meant."""
    found = problem("evt.type = openat and\n proc.nme = curl")
    assert (found.line, found.column, found.width) == (2, 2, 8)
    assert "proc.nme" in found.message
    assert found.hint == "did you mean 'proc.name'?"


def test_a_typing_mistake_is_located() -> None:
    """The hint is that for conditions of rules."""
    found = problem("proc.name = curl && fd.sport = 443")
    assert (found.line, found.column) == (1, 18)
    assert found.hint == "write 'and' instead of '&&'"


def test_macros_and_lists_of_rule_files_are_known() -> None:
    """Without the files, they are not."""
    assert set(compile_search("reading", [RULES]).compiled.matchers) == {"openat"}
    assert "Undefined macro 'reading'" in problem("reading").message


def test_rule_files_with_errors_do_not_prevent_a_search() -> None:
    """It is reported that their macros are unknown."""
    found = compile_search("proc.name = cat", [RuleFile("broken.yaml", "- rule: 5")])
    assert "macros and lists are unknown" in found.warnings[0].message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("many_reads", "'many_reads' counts events over time"),
        ("fd.sip.name = example.org", "host names are not resolved"),
        ("evt.type = openat and evt.type = execve", "no event can match"),
        (" \n ", "write a condition"),
        ("proc.name = \x1b", "control characters"),
        ("a" * 5000, "more than 4,000"),
    ],
)
def test_what_can_not_be_searched_for_is_refused(text: str, message: str) -> None:
    """With the reason."""
    assert message in problem(text, RULES).message


def test_yaml_in_a_condition_is_only_text() -> None:
    """A condition can't add a rule."""
    found = problem("proc.name = cat\n- rule: x\n  condition: y")
    assert found.line == 2


def test_a_condition_without_event_types_is_no_warning() -> None:
    """That matters to rules only."""
    assert compile_search("proc.name = cat", []).warnings == ()


def test_the_examples_of_the_console_and_its_page_are_conditions() -> None:
    """Each compiles without any macro, so that it works with whatever rules there are."""
    documented = re.findall(r"(?m)^    (proc\.name .*|evt\.hostname .*)$", Path("docs/console.md").read_text())
    template = Path("lanner/console/pages/templates/search.html").read_text()
    offered = re.findall(r'"([^"]+)"', re.findall(r"for example in \((.*)\) %}", template)[0])
    assert (len(documented), len(offered)) == (2, 4)
    for text in (*documented, *offered):
        assert compile_search(text, []).compiled.matchers
