from typing import cast

import pytest

from processor.compiler.batch import compile_rules
from processor.compiler.operands import names_by_address, names_to_resolve
from processor.detection.explain import BatchEvaluator
from processor.fields.extract import extract
from processor.language.ast import Check, Field, Node
from processor.language.parser import parse
from processor.pushdown.derive import has_looked_up_names
from schemas.batch import EventBatch, EventBit, Process
from tests.unit.processor.batches import batch_of

NAMES = {"203.0.113.9": ("a.example", "b.example"), "2001:db8::9": ("a.example",)}
SERVER_IS_REMOTE = int(EventBit.HAS_RES | EventBit.HAS_ROLE)


def connection(remote: str | None, **more: object) -> EventBatch:
    """Return a batch with one outgoing connection to an address."""
    event = {"type": "connect", "fd_num": 3, "fd_type": "ipv4", "remote_ip": remote, "remote_port": 443}
    event |= {"local_ip": "10.0.0.2", "local_port": 40000, "bits": SERVER_IS_REMOTE, **more}
    batch = batch_of(event, processes=[Process(pid=1, name="x")])
    batch.names = NAMES
    return batch


def matches(condition: str, batch: EventBatch, event: str = "connect") -> bool:
    """Evaluate a condition for the batch's event."""

    def fail(_index: int, problem: BaseException) -> None:
        raise AssertionError(problem)

    matcher = compile_rules([parse(condition)]).matchers.get(event)
    return matcher is not None and bool(matcher.bind(batch, fail)(0))


@pytest.mark.parametrize(
    ("condition", "remote", "expected"),
    [
        ("fd.sip.name = a.example", "203.0.113.9", True),
        ("fd.sip.name = b.example", "203.0.113.9", True),
        ("fd.sip.name = b.example", "2001:db8::9", False),
        ("fd.sip.name in (x.example, b.example)", "203.0.113.9", True),
        ("fd.rip.name in (x.example, b.example)", "203.0.113.9", True),
        ("fd.cip.name = a.example", "203.0.113.9", False),
        ("fd.sip.name != b.example", "203.0.113.9", False),
        ("fd.sip.name != c.example", "203.0.113.9", True),
        ("fd.sip.name != c.example", "198.51.100.1", True),
        ("fd.sip.name != c.example", None, False),
        ("not fd.sip.name in (c.example)", "198.51.100.1", True),
        ("fd.sip.name exists", "203.0.113.9", True),
        ("fd.sip.name exists", "198.51.100.1", False),
        ("fd.sip.name endswith .example", "203.0.113.9", True),
    ],
)
def test_a_name_in_a_rule_means_its_addresses(condition: str, remote: str | None, expected: bool) -> None:
    """Any of an address's names can match; `!=` requires an address without an equal name."""
    assert matches(condition, connection(remote)) is expected


def test_output_shows_the_first_name() -> None:
    """Names are in the order of the rules; missing if no rule uses a name of the address."""
    assert extract(connection("203.0.113.9"), 0, "fd.sip.name") == "a.example"
    assert extract(connection("198.51.100.1"), 0, "fd.sip.name") is None
    assert extract(connection("203.0.113.9"), 0, "fd.lip.name") is None


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("fd.sip.name endswith .example.org", True),
        ("fd.rip.name startswith anyof (cdn, web)", True),
        ("fd.sip.name endswith .example", True),
        ("fd.cip.name exists or fd.lip.name exists", False),
        ("fd.sip.name = www.example.org", False),
        ("fd.sip.name in (www.example.org, cdn.example.net)", False),
        ("fd.sip.name != www.example.org", True),
        ("not fd.sip.name = www.example.org", True),
    ],
)
def test_names_that_a_user_looked_up_match_except_by_equality(condition: str, expected: bool) -> None:
    """An exception that names a host compares addresses, so that nobody gets it by answering themselves."""
    batch = connection("203.0.113.9", remote_names="www.example.org cdn.example.net")

    assert matches(condition, batch) is expected
    assert extract(batch, 0, "fd.sip.name") == "www.example.org"
    assert extract(batch, 0, "fd.cip.name") is None


@pytest.mark.parametrize(
    ("operator", "requested", "expected"),
    [
        ("=", "cdn.example.net", True),
        ("=", "x.example", False),
        ("!=", "cdn.example.net", False),
        ("!=", "x.example", True),
        ("in", "www.example.org", True),
        ("in", "x.example", False),
        ("startswith", "cdn.example.net", True),
    ],
)
def test_a_field_is_compared_with_each_name_of_an_address(operator: str, requested: str, expected: bool) -> None:
    """As in a condition on the names, any may match, and `!=` requires that all differ."""
    names = "www.example.org cdn.example.net"
    batch = connection("203.0.113.9", type="write", remote_names=names, server_name=requested)
    condition = f"tls.client.server_name {operator} val(fd.sip.name)"

    assert matches(condition, batch, "write") is expected
    assert BatchEvaluator(batch, 0).check(cast("Check", parse(condition))) is expected
    assert has_looked_up_names([condition])


def test_a_field_is_compared_with_no_name_if_the_address_has_none() -> None:
    """As with any field on the right that is missing, not even `!=` is true."""
    for operator in ("=", "!=", "in"):
        condition = f"tls.client.server_name {operator} val(fd.sip.name)"
        assert not matches(condition, connection("198.51.100.1", type="write", server_name="x.example"), "write")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fd.sip.name endswith .org", True),
        ("(fd.cip.name exists)", True),
        ("fd.rip.name intersects (a, b)", True),
        ("connected to %fd.rip.name", True),
        ("%fd.sip.name in a network", True),
        ("fd.lip.name", True),
        ("fd.sip.name = a.example", False),
        ("fd.sip.name in (a.example)", False),
        ("fd.sip.name != a.example and fd.sip = 10.0.0.1", False),
        ("x.fd.sip.name endswith .org", False),
    ],
)
def test_answers_are_collected_only_if_a_rule_needs_their_names(text: str, expected: bool) -> None:
    """By conditions as they are printed, outputs, and names of fields."""
    assert has_looked_up_names([text]) is expected


def test_an_explanation_shows_all_names() -> None:
    """The explanation shows the names that the check compared."""
    evaluator = BatchEvaluator(connection("203.0.113.9"), 0)
    assert evaluator.value(Field("fd.sip.name")) == ("a.example", "b.example")
    assert evaluator.check(Check(Field("fd.sip.name"), "exists"))


def test_only_names_in_rules_are_resolved() -> None:
    """Each name is listed once; invalid names and those of other operators are not resolved."""
    text = (
        "evt.type = connect and (fd.sip.name = a.example or fd.rip.name in (b.example, a.example) "
        'or fd.cip.name = "not a name" or fd.lip.name = 10.0.0.1 or fd.sip.name endswith .org or fd.name = c.example)'
    )
    condition: Node = parse(text)

    assert names_to_resolve([condition]) == ("a.example", "b.example")


def test_answers_are_turned_round() -> None:
    """Addresses are canonical; invalid ones are omitted."""
    answers = {"a": ["2001:DB8::0009", "nonsense"], "b": ["203.0.113.9", "2001:db8::9"]}

    assert names_by_address(answers) == {"2001:db8::9": ("a", "b"), "203.0.113.9": ("b",)}
