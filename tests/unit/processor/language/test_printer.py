from hypothesis import given

from processor.language.ast import And, Check, Field, Literal, Macro, Node, Not
from processor.language.parser import RULE_DEPTH, parse
from processor.language.printer import print_condition
from tests.unit.processor.language.pairs import accept, each_pair
from tests.unit.processor.language.trees import trees


@each_pair("printed.txt")
def test_a_condition_has_one_printed_form(text: str, expected: str) -> None:
    """A condition prints as in the fixture, and its printed form prints as itself."""
    assert print_condition(accept(text)) == expected
    assert print_condition(accept(expected)) == expected


@given(trees)
def test_what_is_printed_reads_back_as_the_same_tree(tree: Node) -> None:
    """parse(print(tree)) equals the tree, and print(parse(text)) equals the text."""
    text = print_condition(tree)

    assert parse(text, RULE_DEPTH) == tree
    assert print_condition(parse(text, RULE_DEPTH)) == text


def test_macros_print_as_their_bodies_or_their_names() -> None:
    """A resolved macro prints as its body or as its name."""
    opens = Macro("opens", Check(Field("evt.type"), "=", Literal("open")))
    tree = And((opens, Not(opens)))

    assert print_condition(tree) == "(evt.type = open and not evt.type = open)"
    assert print_condition(tree, expand_macros=False) == "(opens and not opens)"
