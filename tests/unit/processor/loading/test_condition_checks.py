import pytest

from processor.loading import Problem, report
from tests.unit.processor.loading.files import load, rule


def only_error(text: str) -> Problem:
    """Return the one error of a file."""
    [problem] = load(text).errors
    return problem


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("fd.name beginswith /etc", "write 'startswith'"),
        ("fd.name STARTSWITH /etc", "write 'startswith'"),
        ("fd.name containz /etc", "did you mean 'contains'?"),
        ("fd.name matches /etc", "write 'glob' or 'regex'"),
        ("fd.name =~ /etc", "write 'glob' or 'regex'"),
        ("fd.name not in (/etc)", "write 'not' before the field: 'not FIELD in (...)'"),
        ("fd.name and evt.type = open", "compare the field with a value, or write 'FIELD exists'"),
        ("evt.type = open && fd.name = /x", "write 'and' instead of '&&'"),
        ("evt.type = open || fd.name = /x", "write 'or' instead of '||'"),
        ("evt.type = open | fd.name = /x", "write 'or' instead of '|'"),
        ("evt.type = open AND fd.name = /x", "write 'and' instead of 'AND'"),
        ("evt.type = open OR fd.name = /x", "write 'or' instead of 'OR'"),
        ("NOT evt.type = open", "write 'not' instead of 'NOT'"),
        ("evt.type = open and !fd.name = /x", "write 'not' instead of '!'"),
        ("evt.type in openat, open", "put the values in parentheses: 'in (...)'"),
        ("fd.name in /etc/x", "put the values in parentheses: 'in (...)'"),
        ("fd.name pmatch /etc", "put the values in parentheses: 'pmatch (...)'"),
        (
            "fd.name startswith (/etc, /usr)",
            "'startswith' takes one value: write 'startswith anyof (...)' for several, or 'pmatch (...)' for paths",
        ),
        ("proc.name = (a, b)", "'=' takes one value: write 'in (...)' for several"),
        ("evt.arg[res] = EPERM", "write 'evt.arg.res'"),
        ("evt.rawarg[res] = -1", "write 'evt.rawarg.res'"),
        ("proc.name in (a, b,)", "remove the comma before ')'"),
        ("proc.cmdline contains rm -rf /", "put a value that contains spaces in quotation marks"),
        ("evt.type = open proc.name = a", "write 'and' or 'or' before 'proc.name'"),
        ("proc.name in (a b)", "separate the values of a list with commas"),
        ("(evt.type = open proc.name = a)", "write 'and' or 'or' before 'proc'"),
        ("proc.name = 'bash", "the quotation mark ' that begins here is not closed"),
        ("proc.name in ('bash, x)", "the quotation mark ' that begins here is not closed"),
        ("proc.name = 'a and fd.name = 'b'", "a quotation mark is not closed, or is missing"),
        ("proc.name = \u201cfoo bar\u201d", 'write straight quotation marks (") instead of typographic ones'),
        ("evt.type = open)", "there is no '(' for this ')'"),
        ("(evt.type = open", "the '(' in line 3, column 14 is not closed"),
        (">\n    evt.type = open and\n    (fd.name = /x\n", "the '(' in line 5, column 5 is not closed"),
        (
            ">\n    evt.type = open and\n    (fd.name = /x or\n    fd.name = /y\n",
            "the '(' in line 5, column 5 is not closed: (fd.name = /x or",
        ),
    ],
)
def test_a_condition_that_can_not_be_parsed_has_a_hint(condition: str, hint: str) -> None:
    """Message and code are Falco's; the hint is about what was probably meant."""
    problem = only_error(rule(condition))
    assert (problem.code.name, problem.hint) == ("LOAD_ERR_COMPILE_CONDITION", hint)


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("fd.sip in (10.0.0.0/8)", "write 'fd.snet' to compare with a range of addresses"),
        ("fd.net = 10.0.0.1", "write 'fd.ip' to compare with one address, or '10.0.0.1/32' for a range of one"),
        ("user.uid = root", "write 'user.name' to compare with a name"),
        ("evt.arg.flgs contains O_CREAT", "did you mean 'evt.arg.flags'?"),
    ],
)
def test_a_value_of_the_wrong_type_has_a_hint_with_the_field_for_it(condition: str, hint: str) -> None:
    """Another field takes the value as it is."""
    assert only_error(rule(f"evt.type = connect and {condition}")).hint == hint


def test_an_operator_of_an_exception_has_the_same_hint() -> None:
    """The nearest spelling would be another operator."""
    exception = "  exceptions:\n  - {name: e, fields: [fd.name], comps: [beginswith], values: [[/x]]}\n"
    assert only_error(rule("evt.type = open", exception)).hint == "write 'startswith'"


@pytest.mark.parametrize(
    ("priority", "hint"),
    [
        ("HIGH", "'HIGH' is not a priority: write Critical or Error"),
        ("3", "'3' is not a priority: write Error"),
        ("Warnings", "did you mean 'Warning'?"),
    ],
)
def test_a_priority_of_another_system_has_a_hint(priority: str, hint: str) -> None:
    """Other systems name severities differently."""
    assert only_error(rule("evt.type = open").replace("INFO", priority)).hint == hint


def test_all_wrong_fields_of_an_output_are_reported() -> None:
    """Each with its own location and hint."""
    errors = load(rule("evt.type = open").replace("output: o", "output: '%proc.nam is %proc.pid, %fd.nme %'")).errors
    assert [(problem.column, problem.hint) for problem in errors] == [
        (12, "did you mean 'proc.name'?"),
        (36, "did you mean 'fd.name'?"),
        (44, "remove it, or write a field after it"),
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("- rule: r\n  desc: One: two\n", "a text that contains ': ' needs quotation marks around it"),
        ("- rule: r\n   desc: d\n", "keys of one item begin in the same column"),
        ("- rule: r\n  output: %proc.name\n", "a text that begins with '%' needs quotation marks around it"),
        ("- rule: r\n  desc: 'd\n", "the quotation mark in line 2, column 9 is not closed: desc: 'd"),
        ("- list: l\n  items: [a\n- list: m\n", "the '[' in line 2, column 10 is not closed, or a comma is missing"),
        ("- rule: r\n\tdesc: d\n", "indent with spaces instead of tabs"),
        ("- rule: r\n  a: &x [*y]\n", "no item of this file is loaded"),
    ],
)
def test_a_file_that_is_not_yaml_has_a_hint(text: str, hint: str) -> None:
    """Marks that are not closed are shown where they were opened."""
    assert only_error(text).hint.startswith(hint)


def test_a_tab_that_is_the_problem_is_visible() -> None:
    """Other tabs are shown as spaces."""
    shown = report.as_text([only_error("- rule: r\n\tdesc: d\n")])
    assert "  2 | \u2192   desc: d\n    | ^^^^\n" in shown
