import time

from hypothesis import given
from hypothesis import strategies as st

from processor.language.ast import And, Check, Field, Literal, MacroRef, Not, Or, ValueList
from processor.language.parser import RULE_DEPTH, parse
from processor.language.tokens import ConditionError
from tests.unit.processor.language.pairs import accept, each_pair, reject, same_tree

_WORDS = (
    *("(", ")", ",", "and", "or", "not", "exists", "in", "=", "<", "contains", "anyof", "val(", "tolower(", "join("),
    *("proc.name", "evt.arg", "[", "]", "'", '"', "\\", "a", "1", " ", "\n", "\x00", "é", "\ud800"),
)


@each_pair("rejected.txt")
def test_an_invalid_condition_is_reported_with_its_offset(text: str, expected: str) -> None:
    """The message and the offset are those in the fixture."""
    error = reject(text)

    assert f"{error.span[0]}: {error.message}" == expected


def test_nothing_is_no_condition() -> None:
    """An empty text and a blank one are errors."""
    assert reject("").message == "filter input string is empty"
    assert reject(" \n").message == "expected a '(' token, a field check, or an identifier"


def test_blanks_do_not_count() -> None:
    """Blanks around operators, parentheses and commas have no effect."""
    same_tree("evt.type=open and(proc.name in(a,b))", " evt.type  =  open  and  (  proc.name  in  (  a , b  )  ) ")


def test_how_a_value_is_quoted_does_not_count() -> None:
    """A value is the same bare, in single quotes and in double quotes."""
    same_tree("proc.name = 22", "proc.name = '22'")
    same_tree("proc.name = 22", 'proc.name = "22"')


def test_every_node_knows_its_location() -> None:
    """Spans are offsets in the text, without the blanks and parentheses around a node."""
    text = "a or not (proc.name in (x, 'y z') and b)"
    tree = accept(text)

    assert tree == Or(
        (
            MacroRef("a"),
            Not(And((Check(Field("proc.name"), "in", ValueList((Literal("x"), Literal("y z")))), MacroRef("b")))),
        )
    )
    assert isinstance(tree, Or)
    negation = tree.children[1]
    assert isinstance(negation, Not)
    conjunction = negation.child
    assert isinstance(conjunction, And)
    check = conjunction.children[0]
    assert isinstance(check, Check)
    assert isinstance(check.right, ValueList)
    spans = [node.span for node in (tree, negation, conjunction, check, check.left, *check.right.items)]
    assert [text[start:end] for start, end in spans] == [
        text,
        "not (proc.name in (x, 'y z') and b)",
        "proc.name in (x, 'y z') and b",
        "proc.name in (x, 'y z')",
        "proc.name",
        "x",
        "'y z'",
    ]


def test_depth_has_a_limit() -> None:
    """Excessive nesting of parentheses, negations or transformers is an error; nesting within a rule's limit is not."""
    for open_word, close in (("(", ")"), ("not(", ")")):
        assert reject(open_word * 100_000 + "a" + close * 100_000).message == "exceeded max depth limit of 100"
        assert reject(open_word * 300 + "a" + close * 300, RULE_DEPTH).message == "exceeded max depth limit of 1000"
    assert reject("tolower(" * 10_000).message == "exceeded max depth limit of 100"
    assert parse("(" * 190 + "a" + ")" * 190, RULE_DEPTH) == MacroRef("a")
    assert parse("(" * 19 + "a" + ")" * 19) == MacroRef("a")


def test_a_long_condition_takes_linear_time() -> None:
    """A million characters of any one kind are read within seconds."""
    started = time.process_time()
    for text in ("a" * 1_000_000, "1" * 1_000_000, "'" * 1_000_000, "proc.name = " + "a" * 1_000_000, "a." * 500_000):
        assert len(_outcome(text)) < 1000
    parse("a and " * 100_000 + "a")

    assert time.process_time() - started < 10


@given(st.text() | st.lists(st.sampled_from(_WORDS)).map("".join))
def test_any_text_gives_a_tree_or_an_error(text: str) -> None:
    """No text makes the parser raise another exception."""
    _outcome(text)


def _outcome(text: str) -> str:
    try:
        tree = parse(text)
    except ConditionError as error:
        message, (start, end) = error.message, error.span
    else:
        message, (start, end) = "", tree.span
    assert 0 <= start <= end <= len(text)
    return message


def test_errors_are_equal_if_message_and_location_are() -> None:
    """Errors can be compared and collected."""
    assert reject("a b") == reject("a c")
    assert reject("a b") != reject("ab c")
    assert len({reject("a b"), reject("a c")}) == 1
