"""Hypothesis strategies for all trees that the parser can return."""

from hypothesis import strategies as st

from processor.language import tokens
from processor.language.ast import (
    Ancestor,
    And,
    ArgumentList,
    Check,
    Field,
    FieldValue,
    Literal,
    MacroRef,
    Node,
    Not,
    Or,
    Transformer,
    ValueList,
)

texts = st.binary(max_size=8).map(lambda data: data.decode("utf-8", "surrogateescape")) | st.sampled_from(
    ["", "\\", 'a"', "\\'", "a\\", "oneof", "not", "val", "1", "é ", "\x00", "a,b", "in", "\xa0", "\u200b"]
)
names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,5}", fullmatch=True) | st.sampled_from(["not", "and", "or", "val", "in"])
fields = st.builds(Field, st.lists(names, min_size=2, max_size=3).map(".".join), st.none() | texts)
numbers = st.sampled_from(["0", "-1", "1.5", "0xAf", "1e+5"]).map(lambda text: Literal(text, quoted=False))
values = st.builds(Literal, texts, st.just(True))
_simple = st.deferred(lambda: fields | values | numbers | transformers)
_arguments = _simple | st.lists(_simple, max_size=2).map(tuple).map(ArgumentList)
transformers: st.SearchStrategy[Transformer] = st.deferred(
    lambda: st.builds(
        Transformer,
        st.sampled_from(tokens.TRANSFORMERS),
        st.lists(_arguments, min_size=1, max_size=2).map(tuple),
        st.none() | texts,
    )
)
sides = fields | transformers
rights = st.builds(FieldValue, fields, st.none() | texts) | transformers
lists = st.lists(values, max_size=3).map(tuple).map(ValueList)
list_names = names.filter(lambda name: name not in ("and", "or")).map(Literal)

checks = st.one_of(
    st.builds(Check, sides, st.just("exists")),
    st.builds(Check, sides, st.sampled_from(tokens.NUMBER_OPERATORS), numbers | rights),
    st.builds(Check, sides, st.sampled_from(tokens.STRING_OPERATORS), values | rights),
    st.builds(Check, sides, st.sampled_from(tokens.LIST_OPERATORS), lists | list_names | rights),
    st.builds(
        Check, sides, st.sampled_from(tokens.STRING_OPERATORS), lists | list_names, st.sampled_from(tokens.MODIFIERS)
    ),
)


def _with_children(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(children, min_size=2, max_size=3).map(tuple)
    return children.map(Not) | children.map(Ancestor) | several.map(And) | several.map(Or)


trees: st.SearchStrategy[Node] = st.recursive(checks | names.map(MacroRef), _with_children, max_leaves=12)
