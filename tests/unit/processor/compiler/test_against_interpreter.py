"""The compiler agrees with a slow, obvious interpreter on random conditions and events."""

from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.compiler.batch import compile_rules
from processor.compiler.checks import errors
from processor.compiler.mapping import compile_mapping
from processor.fields.extract import extract, reader
from processor.language.ast import (
    Ancestor,
    And,
    Check,
    Field,
    FieldValue,
    Literal,
    Macro,
    Node,
    Not,
    Or,
    ValueList,
    fields_in,
)
from schemas.batch import Container, EventBatch, EventBit, Process
from tests.unit.processor.batches import batch_of
from tests.unit.processor.compiler.interpreter import Read, evaluate

WORDS = ["bash", "cat", "/etc/shadow", "/etc", "/tmp/a b", "shadow", "", "host", "3d09256ebd53", "openat", "close", "/"]
PATTERNS = ["*", "/etc/*", "?at", "*sh*", "[bc]at", "/*/shadow"]
TEXT_FIELDS = [
    Field("proc.name"),
    Field("proc.pname"),
    Field("proc.cmdline"),
    Field("fd.name"),
    Field("evt.path"),
    Field("fd.directory"),
    Field("fd.filename"),
    Field("evt.type"),
    Field("container.id"),
    Field("container.name"),
    Field("proc.aname", "2"),
    Field("proc.aname"),
    Field("evt.arg", "flags"),
]
NUMBER_FIELDS = [Field("proc.pid"), Field("fd.num"), Field("evt.rawres"), Field("fd.port"), Field("user.uid")]
BOOL_FIELDS = [Field("evt.is_open_read"), Field("evt.failed"), Field("proc.is_exe_upper_layer"), Field("fd.connected")]
ADDRESS_FIELDS = [Field("fd.ip"), Field("fd.sip"), Field("fd.lip")]
ADDRESSES = ["10.0.0.1", "127.0.0.1", "::1", "2001:db8::1"]

literal = st.sampled_from(WORDS).map(Literal)
pattern = st.sampled_from([*PATTERNS, *WORDS]).map(Literal)
number = st.integers(-2, 4).map(lambda value: Literal(str(value)))
address = st.sampled_from(ADDRESSES).map(Literal)


def several(item: st.SearchStrategy[Literal], least: int = 0) -> st.SearchStrategy[ValueList]:
    """Return a strategy for lists of values."""
    return st.lists(item, min_size=least, max_size=3).map(lambda items: ValueList(tuple(items)))


text_field = st.sampled_from(TEXT_FIELDS)
comparable = [field for field in TEXT_FIELDS if field.name != "proc.aname"]
MODIFIER = st.sampled_from(["oneof", "anyof", "allof"])

check = st.one_of(
    st.builds(
        Check,
        text_field,
        st.sampled_from(["=", "==", "!=", "contains", "icontains", "startswith", "endswith"]),
        literal,
    ),
    st.builds(Check, text_field, st.sampled_from(["glob", "iglob"]), pattern),
    st.builds(
        Check, text_field, st.just("regex"), st.sampled_from(["ba.*", ".*", "/etc/(shadow|x)", "[a-c]at"]).map(Literal)
    ),
    st.builds(Check, text_field, st.sampled_from(["in", "intersects"]), several(literal)),
    st.builds(Check, text_field, st.just("pmatch"), several(pattern, 1)),
    st.builds(Check, text_field, st.sampled_from(["=", "!=", "contains", "startswith"]), several(literal), MODIFIER),
    st.builds(Check, st.sampled_from(comparable), st.just("="), st.sampled_from(comparable).map(FieldValue)),
    st.builds(Check, st.sampled_from(NUMBER_FIELDS[:3]), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), number),
    st.builds(Check, st.sampled_from(NUMBER_FIELDS[:3]), st.just("in"), several(number)),
    st.builds(
        Check,
        st.just(Field("fd.port")),
        st.sampled_from(["=", "!=", "<", ">"]),
        st.sampled_from(["22", "80"]).map(Literal),
    ),
    st.builds(
        Check,
        st.sampled_from(BOOL_FIELDS),
        st.sampled_from(["=", "!="]),
        st.sampled_from(["true", "false"]).map(Literal),
    ),
    st.builds(Check, st.sampled_from(ADDRESS_FIELDS), st.sampled_from(["=", "!="]), address),
    st.builds(Check, st.sampled_from(ADDRESS_FIELDS), st.just("in"), several(address)),
    st.builds(Check, st.sampled_from([*TEXT_FIELDS, *NUMBER_FIELDS, *BOOL_FIELDS, *ADDRESS_FIELDS]), st.just("exists")),
)


def _extend(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    many = st.lists(children, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        st.builds(And, many), st.builds(Or, many), st.builds(Not, children), st.builds(Macro, st.just("m"), children)
    )


def _is_of_process(node: Check) -> bool:
    fields = (*fields_in(node.left), *fields_in(node.right))
    return all(field.name.startswith(("proc.", "container.", "user.")) for field in fields)


plain_condition: st.SearchStrategy[Node] = st.recursive(check, _extend, max_leaves=12)
of_ancestor: st.SearchStrategy[Node] = st.recursive(
    check.filter(_is_of_process), lambda inner: _extend(inner) | st.builds(Ancestor, inner), max_leaves=4
)
condition: st.SearchStrategy[Node] = st.recursive(check | st.builds(Ancestor, of_ancestor), _extend, max_leaves=12)

word = st.sampled_from([None, *WORDS])
flag = st.sampled_from([None, True, False])


@st.composite
def batches(draw: st.DrawFn) -> EventBatch:
    """Draw batches of a few events, with processes, a container, and files with two names."""
    processes = [
        Process(
            pid=draw(st.integers(0, 3)),
            name=draw(word),
            args=draw(st.sampled_from([None, (), ("-c", "cat")])),
            uid=draw(st.sampled_from([None, 0, 1])),
            is_exe_upper_layer=draw(flag),
            parent=draw(st.integers(-1, index - 1)),
            container=draw(st.sampled_from([-1, 0])),
        )
        for index in range(draw(st.integers(1, 3)))
    ]
    event = st.fixed_dictionaries(
        {
            "type": st.sampled_from(["openat", "close", "execve", "connect", "rename", "unlink"]),
            "path_name": word,
            "path_target": word,
            "process": st.integers(0, len(processes) - 1),
            "fd_num": st.sampled_from([-(2**31), -1, 3]),
            "fd_type": st.sampled_from([None, "file", "directory", "ipv4"]),
            "fd_name": word,
            "fd_realpath": st.sampled_from([None, None, "/etc/shadow", "/etc"]),
            "res": st.integers(-2, 3),
            "bits": st.integers(0, 15).map(lambda low: low | EventBit.HAS_RES | EventBit.HAS_ROLE),
            "local_ip": st.sampled_from([None, *ADDRESSES]),
            "remote_ip": st.sampled_from([None, *ADDRESSES]),
            "local_port": st.sampled_from([-1, 22]),
            "remote_port": st.sampled_from([-1, 22, 80]),
            "args": st.sampled_from([{}, {"flags": ("bash", 1)}]),
        }
    )
    containers = [Container("3d09256ebd53", "3d09256ebd53" * 5, "docker", name=draw(word))]
    return batch_of(*draw(st.lists(event, min_size=1, max_size=4)), processes=processes, containers=containers)


def _values(batch: EventBatch, index: int, field: Field, *, real: bool) -> Any:
    if real and field.name in ("fd.name", "fd.directory", "fd.filename", "evt.path"):
        return reader(batch, field.name)(index, batch.columns["fd_realpath"][index])
    if field == Field("proc.aname"):
        levels = [extract(batch, index, "proc.aname", str(level)) for level in range(1, 5)]
        return tuple(value for value in levels if value is not None)
    if field.name == "fd.ip":
        strings, columns = batch.strings, batch.columns
        ends = (strings[columns["local_ip"][index]], strings[columns["remote_ip"][index]])
        return tuple(value for value in ends if value is not None)
    if field.name == "fd.port":
        columns = batch.columns
        return tuple(port for port in (columns["local_port"][index], columns["remote_port"][index]) if port != -1)
    return extract(batch, index, field.name, field.argument)


def _expected(node: Node, batch: EventBatch, index: int) -> bool:
    above = _ancestors(batch, index)
    lexical = evaluate(node, lambda field: _values(batch, index, field, real=False), above)
    columns = batch.columns
    if lexical or not columns["fd_realpath"][index]:
        return lexical
    return evaluate(node, lambda field: _values(batch, index, field, real=True), above)


def _ancestors(batch: EventBatch, index: int) -> list[Read]:
    columns, above = batch.columns, list[Read]()
    row = batch.processes[columns["process"][index]].parent
    while row >= 0:
        processes = [row if at == index else own for at, own in enumerate(columns["process"])]
        by_ancestor = replace(batch, columns={**columns, "process": processes})
        above.append(partial(_values, by_ancestor, index, real=False))
        row = batch.processes[row].parent
    return above


def _raise(_index: int, problem: BaseException) -> None:
    raise AssertionError(problem)


@settings(max_examples=300, deadline=None)
@given(st.lists(condition, min_size=1, max_size=4), batches())
def test_rules_over_a_batch_match_what_the_interpreter_matches(conditions: list[Node], batch: EventBatch) -> None:
    """For each event, exactly the rules match that are true under the file's lexical name or the kernel's."""
    assert [problem for node in conditions for problem in errors(node) if not problem.is_unknown] == []
    # What is found of a process is used for others of its kind, however few the rules are.
    with patch("processor.compiler.batch._MANY_OF_KIND", 1):
        matchers = compile_rules(conditions).matchers

    for index in range(batch.count):
        event_type = batch.strings[batch.columns["type"][index]]
        matcher = matchers.get(event_type or "")
        hits = [] if matcher is None else [rule for rule, _ in matcher.bind(batch, _raise)(index)]
        assert hits == [rule for rule, node in enumerate(conditions) if _expected(node, batch, index)]


@settings(max_examples=300, deadline=None)
@given(st.lists(condition, min_size=1, max_size=4), batches())
def test_no_event_that_matches_is_excluded(conditions: list[Node], batch: EventBatch) -> None:
    """Exclusion by bits, file name, process name and container never loses a match."""
    matchers = compile_rules(conditions).matchers
    columns = batch.columns
    for index in range(batch.count):
        matcher = matchers.get(batch.strings[columns["type"][index]] or "")
        if matcher is not None and not columns["fd_realpath"][index] and matcher.bind(batch, _raise)(index):
            process = batch.processes[columns["process"][index]]
            name = batch.strings[columns["fd_name"][index]]
            assert not matcher.excludes(columns["bits"][index], name, process.name, process.container < 0)


@settings(max_examples=300, deadline=None)
@given(plain_condition, batches())
def test_a_mapping_evaluates_as_in_the_interpreter(node: Node, batch: EventBatch) -> None:
    """The compiled condition and the interpreter agree on a mapping of an event's values."""
    fields = [*TEXT_FIELDS, *NUMBER_FIELDS, *BOOL_FIELDS, *ADDRESS_FIELDS]
    values = {field: _values(batch, 0, field, real=False) for field in fields}
    event = {
        field.name if field.argument is None else f"{field.name}[{field.argument}]": value
        for field, value in values.items()
    }

    assert compile_mapping(node)(event) is evaluate(node, values.__getitem__)
