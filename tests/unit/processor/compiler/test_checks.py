import pytest

from processor.compiler.checks import ConditionProblem, check
from processor.language.parser import parse


def problems(text: str) -> list[ConditionProblem]:
    """Check a condition's text."""
    return check(parse(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope.field = 1", "filter_check called with nonexistent field nope.field"),
        ("proc.pid contains 1", "filter error: 'contains' operator not supported for numeric filters"),
        ("evt.buffer glob x", "filter error: 'glob' operator not supported for buffer filters"),
        ("fd.ip startswith 1", "filter error: 'startswith' operator not supported for ip address and network filters"),
        ("fd.types = file", "filter error: '=' operator not supported for list filters"),
        ("evt.type = opne", "unknown event type opne"),
        ("proc.name = val(proc.pid)", "has incompatible type 'INT64'"),
        ("proc.name regex val(proc.exe)", "operator 'REGEX' doesn't support right-hand side fields"),
        ("tolower(proc.pid) = 1", "type 'INT64' is not supported by 'tolower' transformer applied on field 'proc.pid'"),
        ("evt.arg = 1", "field 'evt.arg' needs an argument"),
        ("proc.name[1] = x", "field 'proc.name' takes no argument"),
        ("evt.outputtime = 1", "can only be used in outputs"),
        ("evt.is_io = yes", "neither true nor false"),
    ],
)
def test_an_error_states_what_is_wrong(text: str, message: str) -> None:
    """The condition has one error with this text."""
    found = [problem for problem in problems(text) if problem.is_error]

    assert len(found) == 1
    assert message in found[0].message


def test_all_errors_are_reported_at_once_with_their_locations() -> None:
    """Each problem has the span of the fault."""
    text = "nope.a = 1 and proc.pid contains 1 or evt.type = opne"
    found = problems(text)

    assert [text[slice(*problem.span)] for problem in found] == ["nope.a", "proc.pid contains 1", "opne"]
    assert [problem.is_unknown for problem in found] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("proc.name = proc.pname", "LOAD_COMPILE_CONDITION"),
        ("proc.name = 'toupper( proc.pname)'", "LOAD_COMPILE_CONDITION"),
        ("proc.name regex bash.*", "LOAD_COMPILE_CONDITION"),
        ("proc.name = <NA>", "LOAD_UNSAFE_NA_CHECK"),
        ("evt.dir = <", "LOAD_DEPRECATED_ITEM"),
    ],
)
def test_a_doubtful_condition_gives_a_warning(text: str, code: str) -> None:
    """The condition compiles, with one warning."""
    assert [(problem.code, problem.is_error) for problem in problems(text)] == [(code, False)]


def test_a_plain_condition_has_no_problems() -> None:
    """Conditions of the upstream rules have no problems."""
    assert problems("evt.type in (open, openat) and proc.aname[2] = sshd and fd.sport = ssh") == []
