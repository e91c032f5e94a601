from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.compiler.batch import compile_rules
from processor.compiler.mapping import compile_mapping
from processor.detection.explain import Explained, MappingEvaluator, Verdict, explain, explain_batch
from processor.language.ast import Node
from schemas.batch import EventBatch
from tests.unit.processor.compiler.test_against_interpreter import batches, condition
from tests.unit.processor.loading.files import load

RULE = """
- macro: reads
  condition: evt.type = openat and evt.is_open_read = true
- list: secrets
  items: [/etc/shadow, /etc/gshadow]
- rule: R
  desc: d
  condition: reads and fd.name in (secrets)
  output: o
  priority: NOTICE
  exceptions:
    - name: empty
      fields: proc.name
    - name: known
      fields: [proc.name, proc.pname]
      values:
        - [sshd, systemd]
"""


def tree_of(event: dict[str, Any], text: str = RULE) -> Explained:
    """Explain the one rule of a text."""
    [rule] = load(text).rules
    return explain(rule, MappingEvaluator(event))


def labels(tree: Explained) -> list[tuple[str, str, str]]:
    """Return the top of a tree: kind, text and verdict of each child."""
    return [(child.kind, child.text, child.verdict.value) for child in tree.children]


READ = {"evt.type": "openat", "evt.is_open_read": True, "fd.name": "/etc/shadow", "proc.name": "cat"}


def test_a_match_has_every_part_true_and_macros_and_exceptions_by_name() -> None:
    """An exception without values is no part of the condition."""
    tree = tree_of(READ)

    assert tree.verdict is Verdict.TRUE
    assert labels(tree) == [
        ("macro", "reads", "true"),
        ("check", "fd.name in (/etc/shadow, /etc/gshadow)", "true"),
        ("exception", "known", "true"),
    ]


def test_a_check_contains_the_value_that_decided_it() -> None:
    """That is what people look for first."""
    tree = tree_of(READ | {"fd.name": "/etc/passwd"})

    assert tree.verdict is Verdict.FALSE
    assert tree.children[1].values == (("fd.name", "/etc/passwd"),)


def test_a_missing_value_is_distinguished_from_a_wrong_one() -> None:
    """Nothing but the missing value keeps the rule from matching."""
    tree = tree_of({key: value for key, value in READ.items() if key != "fd.name"})

    assert tree.verdict is Verdict.MISSING
    assert tree.children[1].verdict is Verdict.MISSING


def test_an_exception_that_holds_is_what_stored_the_rule_quiet() -> None:
    """It is named, and its own condition appears below it."""
    tree = tree_of(READ | {"proc.name": "sshd", "proc.pname": "systemd"})

    exception = tree.children[2]
    assert (tree.verdict, exception.text, exception.verdict) == (Verdict.FALSE, "known", Verdict.FALSE)
    assert exception.children[0].verdict is Verdict.TRUE


def test_not_of_a_missing_value_is_true() -> None:
    """As the engine takes it, which surprises people."""
    text = RULE.replace("reads and", "not proc.pname = bash and reads and")

    assert tree_of(READ, text).children[0].verdict is Verdict.TRUE


def test_exists_of_a_missing_value_is_false() -> None:
    """There is no other value that the event could have had instead."""
    text = RULE.replace("reads and", "proc.pname exists and reads and")

    assert tree_of(READ, text).children[0].verdict is Verdict.FALSE


def test_a_transformer_shows_its_result_and_what_it_was_made_of() -> None:
    """Both sides of a comparison of fields too."""
    text = RULE.replace("reads and", "toupper(proc.name) = val(proc.pname) and reads and")
    event = READ | {"proc.pname": "CAT"}

    values = tree_of(event, text).children[0].values

    assert values == (("toupper(proc.name)", "CAT"), ("proc.name", "cat"), ("proc.pname", "CAT"))


def _raise(_index: int, problem: BaseException) -> None:
    raise AssertionError(problem)


@settings(max_examples=150, deadline=None)
@given(condition, batches())
def test_an_explanation_of_a_batch_states_what_the_engine_states(node: Node, batch: EventBatch) -> None:
    """Under the lexical name or the kernel's, whichever matches."""
    rule = SimpleNamespace(condition=node, active_exceptions=())
    matchers = compile_rules([node]).matchers

    for index in range(batch.count):
        matcher = matchers.get(batch.strings[batch.columns["type"][index]] or "")
        hit = matcher is not None and bool(matcher.bind(batch, _raise)(index))
        assert explain_batch(rule, batch, index).is_true is hit


@settings(max_examples=150, deadline=None)
@given(condition)
def test_an_explanation_of_a_mapping_states_what_the_engine_states(node: Node) -> None:
    """Here with few values, so that many are missing."""
    rule = SimpleNamespace(condition=node, active_exceptions=())

    assert explain(rule, MappingEvaluator(READ)).is_true is compile_mapping(node)(READ)


def test_what_depends_on_a_field_that_is_not_known_is_unknown() -> None:
    """A part that decides alone is enough; None is known to be missing."""
    [rule] = load(RULE).rules
    partial = {name: value for name, value in READ.items() if name != "evt.is_open_read"}

    lacking = explain(rule, MappingEvaluator(partial, is_partial=True))
    assert lacking.verdict is Verdict.UNKNOWN
    assert lacking.children[0].children[0].children[1].unknown == ("evt.is_open_read",)
    decided = explain(rule, MappingEvaluator(partial | {"fd.name": "/x"}, is_partial=True))
    assert decided.verdict is Verdict.FALSE
    missing = explain(rule, MappingEvaluator(partial | {"evt.is_open_read": None, "proc.pname": None}, is_partial=True))
    assert missing.verdict is Verdict.MISSING


@settings(max_examples=300, deadline=None)
@given(condition, st.sets(st.sampled_from(sorted(READ))))
def test_an_answer_from_a_part_of_the_fields_holds_for_the_whole_event(node: Node, known: set[str]) -> None:
    """Otherwise the answer is that it is unknown."""
    rule = SimpleNamespace(condition=node, active_exceptions=())
    part = {name: value for name, value in READ.items() if name in known}

    tree = explain(rule, MappingEvaluator(part, is_partial=True))
    if tree.verdict is not Verdict.UNKNOWN:
        assert tree.is_true is compile_mapping(node)(READ)
