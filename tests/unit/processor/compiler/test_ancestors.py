"""Conditions of one ancestor: how they load, and what batches and mappings have of ancestors."""

import pytest

from lanner.ruletest.reading import read_events
from lanner.ruletest.world import make_batch
from processor.compiler.mapping import compile_mapping
from processor.detection.explain import MappingEvaluator, Verdict, explain, explain_batch
from processor.fields.process import any_ancestor
from processor.language.parser import parse
from processor.pushdown.derive import derive
from schemas.batch import Process
from schemas.filter import Clause
from tests.unit.processor.loading.files import load

RULE = """
- macro: is_cat
  condition: (proc.name = cat)
- macro: reads
  condition: (evt.type = open and fd.name startswith /etc/)
- macro: often
  condition: proc.name = cat
  correlation: {{type: event_count, group-by: [proc.pid], timespan: 1m, condition: {{gte: 3}}}}
- rule: R
  desc: d
  condition: evt.type = open and {condition}
  output: o
  priority: NOTICE
  source: {source}
"""
SCRIPT = "ancestor(proc.exepath = /usr/bin/python3 and proc.args[0] = /srv/job.py)"
OPENED = """
evt.type: open
fd.name: /x
proc:
  name: cat
  ancestors: [{name: sh, exepath: /usr/bin/dash}, bash, zsh, sh, make, {exepath: /usr/bin/python3, args: /srv/job.py}]
"""


@pytest.mark.parametrize(
    ("condition", "is_true"),
    [
        (SCRIPT, True),
        # Two ancestors that have half of it each are not one that has both.
        ("ancestor(proc.exepath = /usr/bin/dash and proc.args[0] = /srv/job.py)", False),
        (f"not {SCRIPT}", False),
        ("ancestor(is_cat)", False),
        ("ancestor(proc.name = bash and proc.pname = zsh and ancestor(proc.name = make))", True),
    ],
)
def test_one_ancestor_at_any_level_has_to_meet_the_whole_condition(condition: str, is_true: bool) -> None:
    """The process itself is none of them; an explanation of the rule states the same."""
    [rule] = load(RULE.format(condition=condition, source="syscall")).rules
    events, problems = read_events("x", OPENED)
    assert problems == ()
    batch = make_batch(events)

    tree = explain_batch(rule, batch, batch.count - 1)

    assert tree.is_true is is_true


def test_a_line_of_many_processes_is_compared_once() -> None:
    """However many of them have events, and from whichever end they come."""
    rows = [Process(pid=index, name="x", parent=index - 1) for index in range(3000)]
    compared: list[int] = []
    known: dict[int, bool] = {}

    def holds(index: int) -> bool:
        compared.append(index)
        return index == 7

    for index in (5, 2999, 7, 2000, 9):
        assert any_ancestor(rows, index, holds, known) is (index > 7)
    assert len(compared) < 3020


@pytest.mark.parametrize(
    ("condition", "source", "message", "hint"),
    [
        (
            "ancestor(proc.name = sh and fd.name = /x)",
            "syscall",
            "'fd.name' is a field of the event, not of an ancestor",
            "compare it outside of ancestor(...)",
        ),
        ("ancestor(reads)", "syscall", "'evt.type' is a field of the event, not of an ancestor", "in macro 'reads'"),
        ("ancestor(proc.duration > 5)", "syscall", "'proc.duration' is a field of the event", "outside"),
        ('ancestor(join("-", (evt.type, "x")) = a)', "syscall", "'evt.type' is a field of the event", "outside"),
        ("ancestor(often)", "syscall", "a stateful macro is about events", ""),
        (
            "ancestor(proc.name = sh)",
            "k8s_audit",
            "nonexistent field proc.name",
            "events of source k8s_audit don't have",
        ),
        ("ancestor (proc.name = sh)", "syscall", "unexpected token after 'ancestor'", ""),
        ("ancestor(proc.name = sh", "syscall", "expected a ')' token", "is not closed"),
        ("ancestor()", "syscall", "expected a '(' token, a field check, or an identifier", ""),
    ],
)
def test_what_is_no_condition_of_an_ancestor_is_refused(condition: str, source: str, message: str, hint: str) -> None:
    """With the reason."""
    errors = load(RULE.format(condition=condition, source=source)).errors

    assert [error for error in errors if message in error.message and hint in error.hint]


def test_the_kernel_knows_no_ancestors() -> None:
    """A check of an ancestor's user is none of the process's."""
    for condition in ("ancestor(user.uid = 0)", "not ancestor(user.uid = 0)"):
        assert derive([parse(f"evt.type = open and {condition}")], ["open"]).clauses == {Clause("open")}


def test_a_mapping_has_the_fields_of_ancestors_by_level() -> None:
    """As alerts and events of the Python API do."""
    event = {"proc.name": "cat", "proc.pname": "sh", "proc.aname[3]": "sshd", "proc.aexepath[3]": "/usr/sbin/sshd"}

    def holds(condition: str) -> bool:
        return compile_mapping(parse(condition))(event)

    assert holds("ancestor(proc.name = sshd and proc.exepath = /usr/sbin/sshd)")
    assert holds("ancestor(proc.aname[2] = sshd and not proc.exepath exists)")
    assert not holds("ancestor(proc.name = sh and proc.exepath = /usr/sbin/sshd)")
    assert not holds("ancestor(proc.name = cat)")
    assert not compile_mapping(parse("ancestor(not proc.name = x)"))({})


def test_an_alert_does_not_say_what_every_ancestor_is() -> None:
    """So a rule about one can't be decided by it."""
    [rule] = load(RULE.format(condition="ancestor(is_cat)", source="syscall")).rules

    tree = explain(rule, MappingEvaluator({"evt.type": "open", "proc.aname[2]": "cat"}, is_partial=True))

    assert tree.verdict is Verdict.UNKNOWN
    assert tree.children[1].unknown == ("proc.name of each ancestor",)
