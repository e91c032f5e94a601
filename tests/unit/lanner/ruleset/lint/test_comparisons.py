from pathlib import Path

import pytest

from lanner.ruleset.lint.comparisons import event_has_field, value_problems
from lanner.ruleset.lint.texts import ListItems, texts_of
from lanner.ruleset.load import validate_files
from processor.fields.extract import extract, is_filled
from processor.language.ast import Field
from processor.loading import Problem, RuleFile, load_rules
from schemas.catalog.fields import FIELDS
from schemas.encoding.recording import read_recording

LISTS = """
- list: inner
  items: [bash, nginx-ingress-controller]
- list: outer
  items: [inner, zsh]
"""


def problems_of(condition: str, lists: str = "") -> list[Problem]:
    """Return the problems of a macro's comparisons."""
    result = load_rules([RuleFile("r.yaml", f"- macro: m\n  condition: {condition}\n{lists}")])
    assert result.ok, result.errors
    [text] = texts_of(result.macros.values(), ())
    return list(value_problems(text, ListItems(result.lists)))


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("proc.name = nginx-ingress-controller", "write 'nginx-ingress-c', or compare the path of the program"),
        ("not proc.aname[2] in (a, nginx-ingress-controller)", "write 'nginx-ingress-c', or compare the path"),
        ("proc.pname startswith nginx-ingress-controller", "write 'nginx-ingress-c'"),
        ("proc.name = 'sh /var/lib/x/y/z'", "compare proc.cmdline"),
        ("fd.directory = /etc/", "write '/etc'"),
        ("fd.name in (/etc/*)", "write 'fd.name glob anyof (...)', or 'fd.name pmatch (...)'"),
        ("fd.name = /etc/*", "write 'fd.name glob /etc/*'"),
        ("fd.name startswith /etc/*", "remove '*': 'fd.name startswith /etc/'"),
        ("proc.name = py*", "write 'proc.name glob py*'"),
        ("proc.name in ()", "write the values, or remove the comparison"),
        ("proc.exepath = bash", "compare proc.name"),
        ("proc.pexepath in (bash)", "compare proc.pname"),
        ("fd.name = passwd", "compare fd.filename"),
        ("fd.directory = etc", "write '/.../etc', or 'fd.directory endswith /etc'"),
        ("proc.name = /usr/bin/bash", "compare proc.exepath, or write 'bash'"),
        ("fd.filename = /etc/passwd", "compare fd.name, or write 'passwd'"),
        ("fd.name = ~/.ssh/id_rsa", "write the absolute path"),
        ("fd.name startswith $HOME/.ssh", "write the absolute path"),
        ("fd.name in (/etc/../etc/passwd)", "write the absolute path"),
        ("proc.exepath = /usr//bin/x", "write the absolute path"),
        ("proc.name in (shell_binaries)", "define the list, or load the file that does"),
        ("proc.name = \u201cbash\u201d", 'write "bash", with straight quotation marks'),
        ("proc.name in (\u2018bash\u2019, sh)", 'write "bash", with straight quotation marks'),
    ],
)
def test_a_value_that_can_not_be_right_is_reported_with_what_to_write(condition: str, hint: str) -> None:
    """There is one problem for each value."""
    [problem] = problems_of(condition)
    assert problem.hint.startswith(hint)


@pytest.mark.parametrize(
    "condition",
    [
        "proc.name = nginx-ingress-c",
        "proc.name = /usr/sbin/spamd",
        "proc.exe = bash and proc.exe = /bin/bash",
        "fd.name glob /etc/* or fd.name pmatch (/etc/*)",
        "fd.directory startswith /etc/",
        "fd.directory = /",
        "fd.name startswith 10.0.0. or fd.name = 10.0.0.1:80->10.0.0.2:90 or fd.name = [eventfd]",
        "proc.cmdline contains 'chmod *' or proc.args = *",
        "proc.name = 'a\u201db' or proc.name = '\u201cquoted\u201d'",
        "tolower(proc.name) = nginx-ingress-controller",
        "proc.cwd = /root/",
        "fd.name contains /../ or fd.nameraw startswith ../ or fd.name = /etc/..data/x or fd.name startswith /.",
        "proc.name in (kworker_x, 'shell_binaries') and proc.name = shell_binaries",
    ],
)
def test_what_can_be_right_is_not_reported(condition: str) -> None:
    """Patterns where they work, names that programs set themselves, quoted quotation marks."""
    assert problems_of(condition) == []


def test_a_value_of_a_list_is_located_in_the_list() -> None:
    """Also if another list includes it; an empty list that has a name can be appended to."""
    [problem] = problems_of("proc.name in (outer)", LISTS)
    assert (problem.item_type, problem.item_name, problem.line, problem.column) == ("list", "inner", 5, 17)
    assert problems_of("proc.name in (known)", "- list: known\n  items: []\n") == []


ACTS = Path(__file__).parents[5] / "rules" / "acts.avro"


def found(text: str) -> list[Problem]:
    """Return the lints about fields of other events."""
    result = validate_files((), [RuleFile("rules.yaml", text)])
    assert result.errors == ()
    return [each for each in result.warnings if each.code.name == "LINT_FIELD_OF_OTHER_EVENTS"]


def rule(condition: str) -> str:
    """Return a rule."""
    return f"- rule: R\n  desc: d\n  condition: {condition}\n  output: o\n  priority: NOTICE\n"


@pytest.mark.parametrize(
    ("condition", "message", "hint"),
    [
        (
            "evt.type = listen and fd.lport = 80",
            "'fd.lport' never has a value in events of type listen",
            "write fd.sport",
        ),
        (
            "evt.type in (unlink, unlinkat) and proc.name = x and fd.name startswith /etc",
            "'fd.name' never has a value in events of the types unlink, unlinkat",
            "write fs.path.name",
        ),
        (
            "evt.type in (rename, renameat) and (proc.name = x or not fs.path.name = /etc/passwd)",
            "'fs.path.name' never has a value in events of the types rename, renameat",
            "write fs.path.source or fs.path.target",
        ),
        (
            "(evt.type = bind and fd.rip = 10.0.0.1) or (evt.type = connect and fd.rip = 10.0.0.1)",
            "'fd.rip' never has a value in events of type bind",
            "write fd.sip",
        ),
        (
            "evt.type = ptrace and evt.arg.flags = PTRACE_ATTACH",
            "'evt.arg.flags' never has a value in events of type ptrace",
            "their arguments are addr, data, pid, request, res",
        ),
        (
            "evt.type = openat and fd.sport = 80",
            "'fd.sport' never has a value in events of type openat",
            "compare a field that they have, or remove the comparison",
        ),
    ],
)
def test_a_field_that_no_event_of_the_condition_has_is_reported(condition: str, message: str, hint: str) -> None:
    """With the field that these events have instead."""
    [problem] = found(rule(condition))

    assert (problem.message, problem.hint) == (message, hint)
    assert problem.location.text[problem.column - 1 :].startswith(message.split("'")[1])


@pytest.mark.parametrize(
    "condition",
    [
        "evt.type in (listen, connect) and fd.lport = 80",
        "(evt.type = listen or evt.type = connect) and fd.rip = 10.0.0.1",
        "evt.type = openat and fs.path.name = /etc/passwd",
        "evt.type = read and fd.sport = 80 and evt.arg.size > 3",
        "fd.lport = 80 and proc.name = x",
        "evt.type = execve and evt.arg.exe = x and evt.arg[0] = 1 and fs.path.name = /bin/x",
        "evt.type = socket and fd.type = ipv4",
    ],
)
def test_a_field_that_some_event_has_is_not_reported(condition: str) -> None:
    """The lint must be right: what isn't known counts as possible."""
    assert found(rule(condition)) == []


def test_fields_of_correlations_are_reported_where_they_are() -> None:
    """An event without one doesn't count, so the macro would never be true."""
    text = """
- macro: new_listener
  condition: evt.type = listen
  correlation: {type: first_seen, group-by: [fs.path.name], field: [proc.exepath, fd.lport], lookback: 7d}
"""
    problems = found(text)

    assert [(each.message, each.hint) for each in problems] == [
        ("'fs.path.name' never has a value in events of type listen, so they don't count", "write fd.name"),
        ("'fd.lport' never has a value in events of type listen, so they don't count", "write fd.sport"),
    ]
    assert problems[1].location.text[problems[1].column - 1 :].startswith("fd.lport")


def test_no_recorded_event_has_a_field_that_it_can_not_have() -> None:
    """What the lint knows holds for all events of the recorded actions."""
    names = [name for name in FIELDS if name.startswith(("fd.", "fs.path.")) and is_filled(name)]
    for batch in read_recording(ACTS):
        for index, type_index in enumerate(batch.columns["type"]):
            event_type = batch.strings[type_index]
            assert event_type is not None
            for name in names:
                if not event_has_field(event_type, Field(name)):
                    assert extract(batch, index, name) in (None, ()), (event_type, name)
