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
        ("evt.type startswith ope", "unknown event type ope"),
        ("evt.type glob open*", "unknown event type open*"),
        ("toupper(evt.type) = OPEN", "unknown event type OPEN"),
        ("len(evt.type) = 4", "unknown event type 4"),
        ("proc.name = val(proc.pid)", "has incompatible type 'INT64'"),
        ("proc.name regex val(proc.exe)", "operator 'REGEX' doesn't support right-hand side fields"),
        ("tolower(proc.pid) = 1", "type 'INT64' is not supported by 'tolower' transformer applied on field 'proc.pid'"),
        ("tolower(fd.types) in val(proc.name)", "field 'fd.types' doesn't support right-hand side fields"),
        ("proc.aname[1] = val(proc.name)", "field 'proc.aname' doesn't support right-hand side fields"),
        ("evt.around[1404996934793590564] = val(evt.buflen.in)", "field 'evt.around' doesn't support right-hand side"),
        (
            "evt.buflen.in = val(evt.around[1404996934793590564])",
            "'evt.around' can't be used as a right-hand side field",
        ),
        ("fd.snet = val(fd.sip)", "field 'fd.snet' doesn't support right-hand side fields"),
        (
            'getopt(("-a"), "a") in val(proc.name)',
            "has type 'CHARBUF (list)' while the right-hand side field 'proc.name'",
        ),
        ('proc.name in getopt(("-a"), "a")', "has type 'CHARBUF' while the right-hand side has incompatible type"),
        ("evt.rawarg.euid = 0", "'=' operator not supported for type 'UID'"),
        ("evt.rawarg.sig = 9", "a field of type SIGTYPE cannot be compared with a value"),
        ("evt.rawarg.addr > 0", "'>' operator not supported for type 'SOCKADDR'"),
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


@pytest.mark.parametrize(
    "text",
    ['proc.name = concat(proc.aname[1], "x")', "tolower(proc.name) = val(proc.exe)", "len(proc.name) > val(evt.num)"],
)
def test_a_field_is_compared_with_one_of_its_type(text: str) -> None:
    """Transformers of several values hide their arguments' restrictions."""
    assert problems(text) == []


def test_all_errors_are_reported_at_once_with_their_locations() -> None:
    """Each problem has the span of the fault."""
    text = "nope.a = 1 and proc.pid contains 1 or evt.type = opne"
    found = problems(text)

    assert [text[slice(*problem.span)] for problem in found] == ["nope.a", "proc.pid contains 1", "opne"]
    assert [problem.is_unknown for problem in found] == [True, False, True]


@pytest.mark.parametrize(
    "text", ["proc.name = proc.pname", "proc.name = 'toupper( proc.pname)'", "proc.name regex bash.*"]
)
def test_a_doubtful_condition_gives_a_warning(text: str) -> None:
    """The condition compiles, with one warning."""
    assert [problem.is_error for problem in problems(text)] == [False]


def test_a_plain_condition_has_no_problems() -> None:
    """Conditions of the upstream rules have no problems."""
    assert problems("evt.type in (open, openat) and proc.aname[2] = sshd and fd.sport = ssh") == []


@pytest.mark.parametrize(
    ("pattern", "operator"),
    [
        ("bash", "="),
        ("^bash$", "="),
        ("^bash", "="),
        ("bash$", "="),
        ("", "="),
        ("$", "="),
        ("^$", "="),
        (".*bash", "endswith"),
        (".+bash$", "endswith"),
        ("bash.?", "startswith"),
        ("^bash.*", "startswith"),
        (".*bash.*", "contains"),
        (".*", "endswith"),
        (".", None),
        ("^.*bash", None),
        ("bash.*$", None),
        ("ba.*sh", None),
        ("ba^sh", None),
        ("bash.{1}", None),
        (r"bash\.*", None),
        ("bas[h]?", None),
    ],
)
def test_a_regular_expression_that_an_operator_can_replace(pattern: str, operator: str | None) -> None:
    """A warning suggests the operator; anchors and "any character" count at the ends only."""
    found = problems(f'proc.name regex "{pattern.replace(chr(92), chr(92) * 2)}"')

    suffix = f"'{pattern}' may be optimized with simpler operators such as '{operator}'"
    assert [problem.message.endswith(suffix) for problem in found] == ([] if operator is None else [True])
