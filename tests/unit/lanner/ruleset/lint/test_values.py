import pytest

from lanner.ruleset.lint.texts import ListItems, texts_of
from lanner.ruleset.lint.values import value_problems
from processor.loading import Problem, RuleFile, load_rules

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
