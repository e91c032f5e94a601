from typing import Any

import pytest

from lanner.sigma.cases import neutral, witnesses
from lanner.sigma.pipeline import MACROS
from processor.language.ast import And, Macro, MacroRef, Node, Not, Or
from processor.language.parser import RULE_DEPTH, parse


def condition(text: str) -> Node:
    """Return a condition with the macros of log sources."""
    return _resolved(parse(text, RULE_DEPTH))


def _resolved(node: Node) -> Node:
    if isinstance(node, MacroRef):
        return Macro(node.name, parse(MACROS[node.name], RULE_DEPTH))
    if isinstance(node, And | Or):
        return type(node)(tuple(map(_resolved, node.children)))
    return Not(_resolved(node.child)) if isinstance(node, Not) else node


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (
            'sigma_process_creation and tolower(proc.exepath) endswith /nc and proc.exeline contains allof (" -e", sh)',
            {"evt.type": "execve", "proc": {"name": "nc", "exepath": "/nc", "exe": "tool", "args": ["-e", "sh"]}},
        ),
        (
            "sigma_process_creation and proc.pexepath = /usr/sbin/nginx and user.name = www and not proc.exe exists",
            {
                "evt.type": "execve",
                "proc": {"name": "tool", "user": "www", "ancestors": [{"name": "nginx", "exepath": "/usr/sbin/nginx"}]},
            },
        ),
        (
            "sigma_process_creation and proc.exe = chmod and proc.args[1] startswith u+",
            {"evt.type": "execve", "proc": {"name": "chmod", "args": ["x", "u+"]}},
        ),
        (
            "sigma_file_event and fd.name glob /etc/*/x and proc.cwd = /srv/",
            {
                "evt.type": "openat",
                "fd.name": "/etc//x",
                "flags": "O_WRONLY|O_CREAT",
                "mode": "0644",
                "proc": {"name": "tool", "cwd": "/srv"},
            },
        ),
        (
            "sigma_network_connection and evt.type = connect and fd.snet = 10.1.0.0/16 and fd.sport > 1000",
            {"evt.type": "connect", "local": "10.0.0.2:40000", "to": "10.1.0.1:1001", "proc": {"name": "tool"}},
        ),
        (
            "evt.type = socket and evt.rawarg.domain = 38",
            {"evt.type": "socket", "domain": "AF_ALG", "proc": {"name": "tool"}},
        ),
        ("evt.type = mknod", {"evt.type": "mknod", "fs.path.name": "/srv/data", "proc": {"name": "tool"}}),
    ],
)
def test_the_first_event_has_all_that_a_condition_needs(text: str, given: dict[str, Any]) -> None:
    """And nothing else: keys with their usual values are left out."""
    assert next(witnesses(condition(text))).given == (given,)


def test_alternatives_are_tried_one_after_the_other() -> None:
    """For rules that exclude the first."""
    found = [
        each.given[0]["proc"]["name"]
        for each in witnesses(condition("sigma_process_creation and proc.name in (a, b, c)"))
    ]
    assert found == ["a", "b", "c"]


def test_host_names_get_addresses() -> None:
    """Tests don't resolve names."""
    (witness,) = witnesses(condition("sigma_network_connection and fd.sip.name = example.org"))
    assert witness.names == {"example.org": "203.0.113.9"}


def test_the_neutral_event_has_only_the_kind() -> None:
    """Nothing in it is as the rule describes."""
    (made,) = neutral(condition("sigma_file_event and fd.name = /etc/x and proc.name = sh")).given
    assert (made["fd.name"], made["proc"]) == ("/srv/data", {"name": "tool"})
