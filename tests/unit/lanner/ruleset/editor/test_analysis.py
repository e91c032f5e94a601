import pytest

from lanner.ruleset.editor.analysis import Analysis
from processor.loading import RuleFile

TEXT = """\
- list: my_shells
  items: [bash, zsh]
- macro: opened
  condition: evt.type = openat and proc.aname[2] in (my_shells)
- rule: r
  desc: d
  condition: opened and below_macro and proc.nthreads > 3
  output: "%proc.name"
  priority: NOTICE
"""
BELOW = "- macro: below_macro\n  condition: fd.name = /x\n"


def analysis(text: str = TEXT) -> Analysis:
    """Return the analysis of a file on top of another."""
    return Analysis([RuleFile("below.yaml", BELOW)], RuleFile("own.yaml", text))


def at(text: str) -> tuple[int, int]:
    """Return the position after a text."""
    before = TEXT[: TEXT.index(text) + len(text)]
    return before.count("\n"), len(before) - before.rfind("\n") - 1


@pytest.mark.parametrize(
    ("where", "documentation"),
    [
        ("proc.ana", "**proc.aname**[...] (optional) `CHARBUF`"),
        ("%proc.na", "**proc.name** `CHARBUF`"),
        ("proc.nthr", "Never has a value: a resource usage value"),
        ("condition: opened", "macro **opened**\n\n```\nevt.type = openat and"),
        ("below_mac", "below.yaml:1:3"),
        ("(my_sh", "list **my_shells**: bash, zsh"),
        ("= opena", "event type **openat** (file)"),
    ],
)
def test_what_is_under_the_cursor_is_documented(where: str, documentation: str) -> None:
    """Fields, macros, lists and event types."""
    assert documentation in (analysis().hover(*at(where)) or "")


def test_other_words_have_no_documentation_and_no_definition() -> None:
    """Also positions outside of the text."""
    assert analysis().hover(*at("desc: ")) is None
    assert analysis().definition(*at("proc.ana")) is None
    assert analysis().hover(999, 0) is None
    assert analysis().completions(999, 0)


def test_names_of_other_files_remain_known_while_a_file_is_broken() -> None:
    """A file is broken most of the time while it is typed."""
    broken = analysis(TEXT.replace("items: [", "items: [["))
    assert [problem.code.name for problem in broken.problems()] == ["LOAD_ERR_YAML_PARSE"]
    assert "below_macro" in {each.name for each in broken.completions(0, 0)}
    assert broken.definition(*at("below_mac")) is not None


def test_completions_depend_on_what_precedes() -> None:
    """Event types after evt.type, only fields in an output."""
    kinds = {
        where: {each.kind for each in analysis().completions(*at(where))} for where in ("= open", "%pro", "and below")
    }
    assert kinds["= open"] == {"event type"}
    assert kinds["%pro"] == {"field"}
    assert kinds["and below"] == {"field", "macro", "list", "operator"}
