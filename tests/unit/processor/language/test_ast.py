"""Tests of the helpers that traverse a condition's tree."""

from hypothesis import given

from processor.language.ast import And, Check, Field, Macro, MacroRef, Node, checks, children, fold, walk, with_children
from processor.language.parser import parse
from processor.language.printer import print_condition
from tests.unit.processor.language.trees import trees

TREE = parse("a.b = 1 and not (c.d = 2 or m) and e.f in (1, 2)")


def test_checks_come_in_the_order_of_the_text() -> None:
    """Macro references are skipped."""
    assert [check.left for check in checks(TREE)] == [Field("a.b"), Field("c.d"), Field("e.f")]


def test_a_macros_body_is_its_child() -> None:
    """Walk yields the macro and what is inside it."""
    macro = Macro("m", TREE)
    assert children(macro) == (TREE,)
    assert list(walk(macro)) == [macro, *walk(TREE)]


def test_with_children_returns_the_same_node_for_the_same_children() -> None:
    """Other children make another node with the same span."""
    assert with_children(TREE, children(TREE)) is TREE
    changed = with_children(TREE, (*children(TREE)[:-1], MacroRef("x")))
    assert isinstance(changed, And)
    assert changed.span == TREE.span
    assert print_condition(changed) == "(a.b = 1 and not (c.d = 2 or m) and x)"


@given(trees)
def test_fold_and_walk_visit_each_node_once(tree: Node) -> None:
    """A fold that counts returns the number of nodes that walk yields."""
    assert fold(tree, lambda _node, parts: 1 + sum(parts)) == len(list(walk(tree)))
    assert list(checks(tree)) == [node for node in walk(tree) if isinstance(node, Check)]
