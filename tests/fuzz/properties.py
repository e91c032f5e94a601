"""The properties that fuzzing checks; each function accepts any bytes and returns only if the property holds."""

import contextlib
import io
from functools import cache

from lanner.captures.format.blocks import GZIP_BYTES, SECTION_BYTES, BadCapture
from lanner.captures.format.events import EVENTS
from lanner.captures.reader import CaptureReader
from lanner.ruletest.reading import read_suite
from lanner.ruletest.world import make_batch
from processor.compiler.batch import Excludes
from processor.compiler.checks import errors
from processor.compiler.mapping import compile_mapping
from processor.compiler.operands import names_to_resolve
from processor.detection.explain import MappingEvaluator, explain
from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.evaluator import Evaluator
from processor.language.ast import Macro, MacroRef, Node, Not
from processor.language.parser import parse
from processor.language.printer import print_condition
from processor.language.tokens import ConditionError
from processor.loading import RuleFile, load_rules, report
from tests.unit.lanner.captures.format import scap_files
from tests.unit.processor.plain_rules import DetectionRule

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
    evaluator = Evaluator(compile_ruleset(result.rules[:_MANY], result.macros))
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


def captures(data: bytes) -> None:
    """Any file is read as events or ends in a BadCapture, whether or not a rule needs its events.

    Bytes that don't begin as a capture describe the blocks of one, so that damage reaches more than their lengths.
    """
    capture = data if data.startswith((SECTION_BYTES, GZIP_BYTES)) else _capture(io.BytesIO(data))
    rules = _every_event()
    evaluator = Evaluator(rules)
    for exclusions in (None, dict[str, Excludes]()):
        reader = CaptureReader(io.BytesIO(capture), "fuzzed.scap", exclusions)
        with contextlib.suppress(BadCapture):
            for batch in reader.batches():
                assert len(evaluator.replay(batch)) <= batch.count
    assert not rules.faults(), rules.first_errors()


@cache
def _every_event() -> CompiledRuleset:
    output = "%evt.args %fd.name %proc.cmdline %proc.acmdline %container.name %user.name"
    return compile_ruleset([DetectionRule("all", parse("evt.num > 0"), output)], {})


def _capture(data: io.BytesIO) -> bytes:
    parts = [scap_files.section(), scap_files.machine()]
    while kind := data.read(1):
        if kind[0] < len(_LISTS):
            parts.append(scap_files.block(_LISTS[kind[0]], data.read(_number(data))))
        elif kind[0] == len(_LISTS):
            entry = scap_files.process(_number(data), tid=_number(data), parent=_number(data), extra=data.read(2))
            parts.append(scap_files.processes(entry))
        else:
            number = int.from_bytes(data.read(2), "little") % (len(EVENTS) + 1)
            params = [data.read(_number(data) % 40) for _ in range(_number(data) % 33)]
            block_type = _EVENT_BLOCKS[kind[0] % len(_EVENT_BLOCKS)]
            parts.append(scap_files.numbered_event(number, _number(data) % 8, params, block_type=block_type))
    return b"".join(parts)


_LISTS = (
    0x201,
    0x202,
    0x203,
    0x205,
    0x206,
    0x207,
    0x214,
    0x215,
    0x216,
    0x217,
    0x218,
    0x219,
    0x220,
    0x221,
    0x222,
    0x999,
)
_EVENT_BLOCKS = (0x216, 0x216, 0x221, 0x204)


def _number(data: io.BytesIO) -> int:
    return int.from_bytes(data.read(1), "little")


TARGETS = {"captures": captures, "conditions": conditions, "rules": rules, "suites": suites}
