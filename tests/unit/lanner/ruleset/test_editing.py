import pytest

from lanner.ruleset.editing import Analysis, fixes
from processor.loading import RuleFile

TEXT = """\
- list: my_shells
  items: [bash, zsh]
- macro: opened
  condition: evt.type = openat and proc.aname[2] in (my_shells)
- rule: r
  desc: d
  condition: opened and below_macro and proc.nthreads > 3 and not ancestor(proc.name = sh)
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
        ("not ances", "true if some ancestor"),
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
    assert "below_macro" in {each.name for each in broken.completions(*at("opened and below"))}
    assert broken.definition(*at("below_mac")) is not None


def test_completions_depend_on_what_precedes() -> None:
    """Event types after evt.type, only fields in an output."""
    kinds = {
        where: {each.kind for each in analysis().completions(*at(where))} for where in ("= open", "%pro", "and below")
    }
    assert kinds["= open"] == {"event type"}
    assert kinds["%pro"] == {"field"}
    assert kinds["and below"] == {"field", "macro", "list", "operator"}
    assert "ancestor(" in {each.name for each in analysis().completions(*at("and below"))}


@pytest.mark.parametrize(
    ("text", "offered", "withheld"),
    [
        ("- rule: r\n  priority: ", ["Emergency", "Debug"], ["proc.name", "output:"]),
        ("- rule: r\n  desc: d\n  pri", ["priority:", "output:", "exceptions:"], ["desc:", "items:", "proc.name"]),
        ("- rule: r\n  enabled: ", ["true", "false"], ["proc.name"]),
        ("- rule: r\n  override: {condition: ", ["append", "replace"], ["proc.name"]),
        (
            "- rule: r\n  condition: >\n    evt.type = open\n    and ",
            ["proc.name", "startswith"],
            ["output:", "priority:"],
        ),
        ("- rule: r\n  desc: what ", [], []),
        (
            "- rule: r\n  exceptions:\n    - name: x\n      fi",
            ["fields:", "comps:", "values:"],
            ["output:", "proc.name"],
        ),
        ("- rule: r\n  exceptions:\n    - name: x\n      fields: [pro", ["proc.name"], ["below_macro", "startswith"]),
        ("- rule: r\n  exceptions:\n    - name: x\n      fields:\n        - proc.", ["proc.name"], ["below_macro"]),
        ("- macro: m\n  correlation:\n    ty", ["type:", "group-by:", "timespan:"], ["condition", "proc.name"]),
        ("- macro: m\n  correlation: {type: ", ["value_count", "first_seen"], ["proc.name"]),
        ("- macro: m\n  correlation: {type: temporal, macros: [be", ["below_macro"], ["proc.name"]),
        ("- list: l\n  items: [", [], ["proc.name"]),
        ("- list: l\n  items: [a]\n- ", ["rule:", "macro:", "list:"], ["items:", "proc.name"]),
        ("- list: l\n  items: [a]\n", ["- rule:", "- macro:"], ["items:", "proc.name"]),
    ],
)
def test_completions_fit_the_place(text: str, offered: list[str], withheld: list[str]) -> None:
    """Keys of the item, values of the key, and names only where a name can be written."""
    lines = text.split("\n")
    names = {each.name for each in analysis(text).completions(len(lines) - 1, len(lines[-1]))}

    assert names >= set(offered)
    assert not names & set(withheld)


def test_a_name_that_was_probably_meant_can_replace_the_other() -> None:
    """A field, a macro, a key and a value are; only the wrong part of a comparison is replaced."""
    text = TEXT.replace("proc.nthreads > 3", "proc.nmae = x").replace("below_macro", "below_marco")
    text = text.replace("NOTICE", "NOTCIE\n  tgas: [x]")
    repaired = text.replace("NOTCIE", "NOTICE")
    found = {}
    for each in (text, repaired, repaired.replace("below_marco", "opened")):
        lines = each.split("\n")
        for problem in analysis(each).problems():
            for fix in fixes(problem):
                found[lines[fix.line - 1][fix.start - 1 : fix.end - 1]] = fix.text

    assert found == {"NOTCIE": "Notice", "tgas": "tags", "below_marco": "below_macro", "proc.nmae": "proc.name"}
