from hypothesis import given
from hypothesis import strategies as st

from processor.language.ast import And, Check, Field, Literal, Macro, Node, Not, Or
from processor.language.event_types import ALL_EVENT_TYPES, event_types, is_broad
from tests.unit.processor.language.pairs import accept, each_pair

_CHECKS = st.builds(
    Check,
    st.sampled_from([Field("evt.type"), Field("proc.name")]),
    st.sampled_from(["=", "!=", "in"]),
    st.sampled_from(["open", "close", "execve"]).map(Literal),
)


def _with_children(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(children, min_size=2, max_size=3).map(tuple)
    return children.map(Not) | several.map(And) | several.map(Or) | children.map(lambda body: Macro("m", body))


@each_pair("event_types.txt")
def test_event_types_of_a_condition(text: str, expected: str) -> None:
    """The event types are those in the fixture."""
    types = event_types(accept(text))

    if expected == "none":
        assert types == set()
    elif expected == "all":
        assert types == ALL_EVENT_TYPES
    elif expected.startswith("all but "):
        assert types == ALL_EVENT_TYPES - set(expected.removeprefix("all but ").split())
    else:
        assert types == set(expected.split())


def test_a_condition_for_most_event_types_is_broad() -> None:
    """All types are broad; a few types or none are not."""
    assert is_broad(ALL_EVENT_TYPES)
    assert is_broad(ALL_EVENT_TYPES - {"open"})
    assert not is_broad(frozenset({"open", "execve", "accept"}))
    assert not is_broad(frozenset())


@given(st.recursive(_CHECKS, _with_children, max_leaves=8), st.sampled_from(["open", "close", "execve", "read"]))
def test_no_event_that_matches_is_left_out(tree: Node, event_type: str) -> None:
    """If a condition is true for an event, the event's type is in the result, whatever the process name."""
    matches = any(_holds(tree, event_type, name) for name in ("open", "close", "execve", "other"))

    assert not matches or event_type in event_types(tree)


def _holds(node: Node, event_type: str, name: str) -> bool:
    """Evaluate a condition without the compiler."""
    if isinstance(node, And):
        return all(_holds(child, event_type, name) for child in node.children)
    if isinstance(node, Or):
        return any(_holds(child, event_type, name) for child in node.children)
    if isinstance(node, Not):
        return not _holds(node.child, event_type, name)
    if isinstance(node, Macro):
        return _holds(node.body, event_type, name)
    assert isinstance(node, Check)
    assert isinstance(node.right, Literal)
    value = event_type if node.left == Field("evt.type") else name
    return (value == node.right.text) is not (node.operator == "!=")
