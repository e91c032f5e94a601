"""The properties that fuzzing checks; each function accepts any bytes and returns only if the property holds."""

from lanner.ruletest.reading import read_suite
from lanner.ruletest.world import make_batch
from processor.compiler.checks import errors
from processor.compiler.host_names import names_to_resolve
from processor.compiler.mapping import compile_mapping
from processor.detection.explain import MappingEvaluator, explain
from processor.evaluator import Evaluator, compile_ruleset
from processor.language.ast import Macro, MacroRef, Node, Not
from processor.language.errors import ConditionError
from processor.language.parser import parse
from processor.language.printer import print_condition
from processor.loading import RuleFile, load_rules
from processor.loading.problems import report

EVENT = {
    "evt.type": "openat",
    "evt.rawres": 3,
    "evt.is_open_read": True,
    "fd.name": "/etc/shadow",
    "fd.sip": "203.0.113.9",
    "fd.sport": 443,
    "proc.name": "cat",
    "proc.args": "-a b",
    "proc.aname": ["bash", "sshd"],
    "container.id": "host",
}
_MANY = 100


class _Rule:
    active_exceptions = ()

    def __init__(self, condition: Node) -> None:
        self.condition = condition


def conditions(data: bytes) -> None:
    """Any text is parsed or rejected; a tree's printed form parses to the same tree; a tree without errors compiles.

    The explanation for an event agrees with the compiled condition.
    """
    text = data.decode("utf-8", "surrogateescape")
    try:
        tree = parse(text)
    except ConditionError:
        return
    printed = print_condition(tree)
    assert parse(printed) == tree, (text, printed)
    if _has_macros(tree) or errors(tree):
        return
    names_to_resolve([tree])
    verdict = compile_mapping(tree)(EVENT)
    assert explain(_Rule(tree), MappingEvaluator(EVENT)).is_true is verdict


def _has_macros(tree: Node) -> bool:
    todo: list[object] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, MacroRef | Macro):
            return True
        todo.extend(getattr(node, "children", ()))
        if isinstance(node, Not):
            todo.append(node.child)
    return False


def rules(data: bytes) -> None:
    """Any file loads as rules or printable problems; rules without errors compile and evaluate."""
    result = load_rules([RuleFile("fuzzed.yaml", data)])
    problems = (*result.errors, *result.warnings)
    shown = report.as_text(problems[:_MANY]) + report.as_github(problems[:_MANY])
    assert all(char.isprintable() or char == "\n" for char in shown)
    report.as_json(result)
    if not result.ok:
        return
    evaluator = Evaluator(compile_ruleset(result.rules[:_MANY], result.correlations, result.suppressed))
    suite, _ = read_suite("t_test.yaml", "[{name: a, given: {evt.type: openat, name: /a, proc: x}, expect: none}]")
    evaluator.replay(make_batch(suite.cases[0].events))
    assert not evaluator.rules.faults()


def suites(data: bytes) -> None:
    """Any file loads as cases or problems, and the events of a case form a batch."""
    suite, problems = read_suite("fuzzed_test.yaml", data.decode("utf-8", "surrogateescape"))
    shown = report.as_text(problems[:_MANY])
    assert all(char.isprintable() or char == "\n" for char in shown)
    for case in suite.cases[:_MANY]:
        assert make_batch(case.events).count == len(case.events)


TARGETS = {"conditions": conditions, "rules": rules, "suites": suites}
