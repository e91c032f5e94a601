import json

from hypothesis import given
from hypothesis import strategies as st

from foundation.yaml.nodes import SourceLocation
from processor.loading import Problem, ProblemCode, report
from tests.unit.processor.loading.files import load, rule

_PROBLEM = Problem(
    ProblemCode.LOAD_ERR_COMPILE_CONDITION,
    "no such field",
    "rule",
    "r",
    SourceLocation("a.yaml", 3, 5, 4, "    fd.x = 1"),
    "try fd.y",
)


def test_text_shows_the_line_with_the_location_underlined() -> None:
    """A report has location, code, message, item, line, underline and hint."""
    assert report.as_text([_PROBLEM]) == (
        "a.yaml:3:5: error LOAD_ERR_COMPILE_CONDITION: no such field (rule 'r')\n"
        "  3 |     fd.x = 1\n"
        "    |     ^^^^\n"
        "  = try fd.y\n"
    )


def test_colour_changes_nothing_else() -> None:
    """Colored text without its escape sequences equals the plain text."""
    coloured = report.as_text([_PROBLEM], colour=True)
    plain = coloured
    for code in ("\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b[0m"):
        plain = plain.replace(code, "")

    assert coloured != plain == report.as_text([_PROBLEM])


def test_the_underline_is_below_the_location() -> None:
    """Tabs, wide and hidden characters before the location shift the underline."""
    location = SourceLocation("a", 1, 5, 2, "\t\x1b世 ab")
    text = report.as_text([Problem(ProblemCode.LOAD_UNKNOWN_KEY, "m", "", "", location)])

    assert text.splitlines()[1:] == ["  1 |     \\x1b世 ab", "    |            ^^"]


def test_json_has_the_keys_that_programs_read() -> None:
    """The JSON has ok, errors, warnings and infos, each with hint, end and documentation."""
    result = load(rule("evt.type=open and proc.nme=a", "  nope: 1\n"))
    data = json.loads(report.as_json(result))

    assert data["ok"] is False
    assert data["errors"] == [
        {
            "code": "LOAD_ERR_COMPILE_CONDITION",
            "severity": "error",
            "message": "filter_check called with nonexistent field proc.nme",
            "hint": "did you mean 'proc.name'?",
            "item_type": "rule",
            "item_name": "r",
            "file": "rules.yaml",
            "line": 3,
            "column": 32,
            "end_line": 3,
            "end_column": 40,
            "docs": "docs/rules-lints.md#load_err_compile_condition",
        }
    ]
    assert [warning["code"] for warning in data["warnings"]] == ["LOAD_UNKNOWN_KEY"]
    assert data["infos"] == []


def test_github_annotations_escape_their_own_syntax() -> None:
    """Colons and commas are escaped in properties, percent signs and line ends everywhere."""
    problem = Problem(ProblemCode.LOAD_UNKNOWN_KEY, "50%\n::error::x", "", "", SourceLocation("a,b:c", 2, 3, 4, "text"))

    assert report.as_github([problem]) == (
        "::warning file=a%2Cb%3Ac,line=2,col=3,endColumn=7,title=LOAD_UNKNOWN_KEY::50%25\\x0a::error::x\n"
    )


def test_hints_name_what_was_probably_meant() -> None:
    """The hint names the closest field, macro, key or event type."""
    text = "- macro: opened\n  condition: evt.type=opne\n" + rule("openned and proc.nme=a", "  tag: [x]\n")
    hints = [problem.hint for problem in (*load(text).errors, *load(text).warnings)]

    assert hints == ["did you mean 'opened'?", "did you mean 'proc.name'?", "did you mean 'tags'?"]
    field = load(rule("evt.type=opne and proc.nme=a")).errors
    assert [problem.hint for problem in field] == ["did you mean 'open'?", "did you mean 'proc.name'?"]


@given(st.text())
def test_no_text_acts_on_a_terminal(text: str) -> None:
    """Whatever a file contains, the report is printable."""
    problem = Problem(ProblemCode.LOAD_UNKNOWN_KEY, text, text, text, SourceLocation(text, 1, 1, 3, text), text)
    shown = report.as_text([problem]) + report.as_github([problem])

    assert all(line.isprintable() for line in shown.split("\n"))
