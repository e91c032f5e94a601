"""Events that a converted rule matches, worked out from its condition, in the format of rule tests.

Only what has to be true is worked out: whether an event matches, also in spite of what must not be true, is for the
rule's evaluation to decide.
"""

import ipaddress
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from lanner.ruletest.events.processes import clipped
from lanner.ruletest.model import StatedEvent
from lanner.ruletest.reading import read_suite
from lanner.ruletest.world import make_batch
from lanner.sigma.checks import PATHS
from lanner.sigma.pipeline import EXECUTED, PATH
from lanner.sigma.regex import sample
from processor.compiler.operands import names_by_address
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.language.ast import And, Check, Field, Macro, Node, Not, Or, Transformer, children, literals, walk
from processor.loading import LoadResult, Rule
from processor.rule import Correlation, RulesetOptions
from schemas.catalog.system_calls import CONNECTS, EXECS, PATH_OPENERS

_VARIANTS = 24
_NET_OF = {"fd.snet": "fd.sip", "fd.cnet": "fd.cip"}
_LINES = ("proc.exeline", "proc.pexeline")
_SERVER, _CLIENT = "203.0.113.9", "10.0.0.2"


@dataclass(frozen=True, slots=True)
class EventSequence:
    """The events of one case, and the addresses of the host names that they need."""

    given: tuple[Mapping[str, Any], ...]
    names: Mapping[str, str] = field(default_factory=dict)


def witnesses(condition: Node) -> Iterator[EventSequence]:
    """Yield single events that may match a condition with macros resolved, the simplest first."""
    seen: list[EventSequence] = []
    for variant in range(_VARIANTS):
        made = _event(_Needs(tuple(_needed(condition, variant)), "/srv" if variant % 2 else ""))
        if made not in seen:
            seen.append(made)
            yield made


def neutral(condition: Node) -> EventSequence:
    """Return an event of the kind that a rule is about, in which nothing is as the rule describes it."""
    needs = _Needs(tuple(each for each in _needed(condition, 0) if each.field in ("", "evt.type")))
    return _event(needs)


@dataclass(frozen=True, slots=True)
class _Need:
    """The required value of a field; without a field, the macro that must be true."""

    field: str
    operator: str
    texts: tuple[str, ...]


def _needed(node: Node, variant: int) -> Iterator[_Need]:
    if isinstance(node, Or) and node.children:
        count = len(node.children)
        yield from _needed(node.children[variant % count], variant // count if variant >= count else variant)
    elif isinstance(node, Macro) and node.name in _TYPES:
        yield _Need("", node.name, ())
    elif isinstance(node, And | Macro):
        for child in children(node):
            yield from _needed(child, variant)
    elif isinstance(node, Check):
        yield from _of_check(node, variant)
    elif not isinstance(node, Not):
        raise TypeError(f"{node} is not resolved")


def _of_check(node: Check, variant: int) -> Iterator[_Need]:
    left = node.left
    while isinstance(left, Transformer):
        inner = left.arguments[0]
        assert isinstance(inner, Field | Transformer)  # noqa: S101
        left = inner
    name = left.name if left.argument is None else f"{left.name}[{left.argument}]"
    if not isinstance(node.right, Transformer) and node.right is not None:
        texts = tuple(item.text for item in literals(node)) if node.operator != "exists" else ()
        chosen = texts if node.modifier == "allof" or not texts else (texts[variant % len(texts)],)
        yield _Need(name, "=" if node.operator == "in" else node.operator, chosen)


@dataclass(frozen=True, slots=True)
class _Needs:
    """All that an event has to be."""

    all: Sequence[_Need]
    folder: str = ""
    """The beginning of a path of which only the end matters."""

    def kind(self) -> str:
        """Return the log source's macro."""
        return next((each.operator for each in self.all if not each.field), "")

    def has(self, name: str) -> bool:
        """Return whether a field's value matters."""
        return any(each.field == name for each in self.all)

    def text(self, name: str) -> str:
        """Return a value that has all that a field needs."""
        exact = self._texts(name, "=")
        if exact:
            return exact[0]
        starts = max(self._texts(name, "startswith"), key=len, default="")
        ends = max(self._texts(name, "endswith"), key=len, default="")
        inner = self._texts(name, "contains")
        inner += [text.replace("*", "").replace("\\", "") for text in self._texts(name, "glob")]
        inner += [sample(text) for text in self._texts(name, "regex")]
        made = starts or (self.folder if name in PATHS else "")
        for text in inner:
            made += "" if text in made or text in ends else f" {text}" if made and name in _LINES else text
        return made if made.endswith(ends) else made + ends

    def _texts(self, name: str, operator: str) -> list[str]:
        return [text for each in self.all if (each.field, each.operator) == (name, operator) for text in each.texts]

    def value(self, name: str, usual: str) -> str:
        """Return a value for a field, the usual one if it doesn't matter."""
        return self.text(name) or usual if self.has(name) else usual

    def number(self, name: str, usual: int) -> int:
        """Return a number for a field."""
        for each in self.all:
            if each.field == name and each.texts:
                return int(each.texts[0]) + {">": 1, "<": -1}.get(each.operator, 0)
        return usual


def _event(needs: _Needs) -> EventSequence:
    event: dict[str, Any] = {"evt.type": needs.value("evt.type", _TYPES.get(needs.kind(), "execve"))}
    names: dict[str, str] = {}
    if event["evt.type"] in PATH_OPENERS:
        event["fd.name"] = _path(needs.value("fd.name", needs.value("fs.path.name", "/srv/data")))
        event |= {"flags": "O_WRONLY|O_CREAT", "mode": "0644"} if event["evt.type"] != "creat" else {"mode": "0644"}
    elif event["evt.type"] in CONNECTS:
        event |= _connection(needs, event["evt.type"], names)
    elif event["evt.type"] not in EXECS:
        event |= _OTHERS.get(event["evt.type"], {"fs.path.name": _path(needs.value("fs.path.name", "/srv/data"))})
    if needs.has("evt.rawarg.domain"):
        event["domain"] = socket.AddressFamily(needs.number("evt.rawarg.domain", 0)).name
    event["proc"] = _process(needs)
    return EventSequence((event,), names)


_TYPES = {EXECUTED: "execve", PATH: "openat", "sigma_file_event": "openat", "sigma_network_connection": "connect"}
_OTHERS: Mapping[str, Mapping[str, Any]] = {"memfd_create": {"name": "data"}, "socket": {"domain": "AF_INET"}}


def _connection(needs: _Needs, event_type: str, names: dict[str, str]) -> dict[str, Any]:
    server, client = _address(needs, "fd.sip", "fd.snet", _SERVER), _address(needs, "fd.cip", "fd.cnet", _CLIENT)
    if needs.has("fd.sip.name"):
        names[needs.text("fd.sip.name")] = server
    if needs.has("fd.cip.name"):
        names[needs.text("fd.cip.name")] = client
    ends = (_end(client, needs.number("fd.cport", 40000)), _end(server, needs.number("fd.sport", 443)))
    keys = ("local", "to") if event_type == "connect" else ("from", "local")
    made = dict(zip(keys, ends, strict=True))
    return made | ({"fd.l4proto": needs.text("fd.l4proto")} if needs.has("fd.l4proto") else {})


def _address(needs: _Needs, name: str, net: str, usual: str) -> str:
    if needs.has(net):
        network = ipaddress.ip_network(needs.text(net), strict=False)
        return str(network[1] if network.num_addresses > 1 else network[0])
    return needs.value(name, usual)


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _path(text: str) -> str:
    made = text if text.startswith("/") else f"/{text}"
    # A folder, or a name that would be taken for one.
    return made + "data" if made.endswith(("/", "/.", "/..")) else made


def _process(needs: _Needs) -> dict[str, Any]:
    words = _words(needs, "proc.exeline")
    if needs.has("proc.exe"):
        words = [needs.text("proc.exe"), *words]
    wanted = [int(each.field[10:-1]) for each in needs.all if each.field.startswith("proc.args[")]
    if wanted:
        first, *rest = words or ["tool"]
        words = [first, *(needs.value(f"proc.args[{at}]", "x") for at in range(max(wanted) + 1)), *rest]
    name = needs.value("proc.name", (words[0].rpartition("/")[2] if words else "") or "tool")
    path = _path(needs.value("proc.exepath", f"/usr/bin/{name}"))
    words = words or [path.rpartition("/")[2]]
    name = needs.value("proc.name", clipped(path.rpartition("/")[2]))
    made = _program(name, path, words)
    made |= {"cwd": needs.text("proc.cwd").rstrip("/") or "/"} if needs.has("proc.cwd") else {}
    made |= {"uid": needs.number("user.uid", 0)} if needs.has("user.uid") else {}
    made |= {"user": needs.text("user.name")} if needs.has("user.name") else {}
    made |= {"pid": needs.number("proc.pid", 0)} if needs.has("proc.pid") else {}
    if needs.has("proc.pexepath") or needs.has("proc.pexeline"):
        parent = _path(needs.value("proc.pexepath", "/usr/bin/bash"))
        line = _words(needs, "proc.pexeline") or [parent.rpartition("/")[2]]
        made["ancestors"] = [_program(clipped(parent.rpartition("/")[2]), parent, line)]
    return made


def _program(name: str, path: str, words: Sequence[str]) -> dict[str, Any]:
    """Return a process without the keys that have their usual values."""
    made: dict[str, Any] = {"name": name}
    made |= {"exepath": path} if path != f"/usr/bin/{name}" else {}
    made |= {"exe": words[0]} if words[0] != name else {}
    return made | ({"args": list(words[1:])} if words[1:] else {})


def _words(needs: _Needs, name: str) -> list[str]:
    if not needs.has(name):
        return []
    text = needs.text(name)
    return (text if text[:1].strip() else f"tool{text}").split(" ")


_MOST_EVENTS = 200
_STEP_MS = 10


def sequences(rule: Rule, loaded: LoadResult) -> Iterator[EventSequence]:
    """Yield events that may make a rule match: single ones, or several for a rule with a correlation."""
    macros = (node for node in walk(rule.condition) if isinstance(node, Macro) and node.name in loaded.macros)
    found = ((node, correlation) for node in macros if (correlation := loaded.macros[node.name].correlation))
    stateful, correlation = next(found, (None, None))
    if stateful is None or correlation is None:
        yield from witnesses(rule.condition)
    elif correlation.kind.is_temporal:
        yield from _of_legs([loaded.macros[leg].condition for leg in correlation.legs])
    elif correlation.threshold <= _MOST_EVENTS:
        for each in witnesses(stateful.body):
            yield EventSequence(tuple(_counted(each, correlation)), each.names)


def _of_legs(legs: list[Node]) -> Iterator[EventSequence]:
    for chosen in zip(*map(witnesses, legs), strict=False):
        names = {name: address for each in chosen for name, address in each.names.items()}
        yield EventSequence(tuple(_at(each.given[0], index) for index, each in enumerate(chosen)), names)


def _counted(witness: EventSequence, correlation: Correlation) -> Iterator[Mapping[str, Any]]:
    for index in range(correlation.threshold):
        given = witness.given[0]
        for name in correlation.fields:
            given = _varied(given, name, index)
        yield _at(given, index)


def _at(given: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    return {**given, "at": f"{index * _STEP_MS}ms"} if index else given


def _varied(given: Mapping[str, Any], name: str, index: int) -> Mapping[str, Any]:
    """Return an event with another value of a field; the same event for a field that isn't known here."""
    process = given["proc"]
    if name == "fd.name" and name in given:
        return {**given, name: f"{given[name]}{index}"}
    if name == "proc.exeline":
        return {**given, "proc": {**process, "args": [*process.get("args", ()), str(index)]}}
    if name == "user.name":
        return {**given, "proc": {**process, "user": f"user{index}", "uid": 1000 + index}}
    ends = {"fd.sport": ("to", "local"), "fd.cport": ("local", "from")}.get(name, ())
    end = ends[0] if ends and given["evt.type"] == "connect" else ends[-1] if ends else ""
    if end in given:
        address, _, port = given[end].rpartition(":")
        return {**given, end: f"{address}:{(int(port) + index) % 65536}"}
    return given


_HEAD = "rule_matching: all\n\ncases:\n"


@dataclass(frozen=True, slots=True)
class CaseFile:
    """The tests of converted rules."""

    text: str
    unproven: tuple[str, ...]
    """Rules for which no event was found that they match."""


def cases_of(loaded: LoadResult) -> CaseFile:
    """Return the tests of converted rules; each event was evaluated, and matches what its case states."""
    tester = _Tester(loaded)
    parts: list[str] = []
    unproven: list[str] = []
    for rule in loaded.rules:
        if (case := tester.positive(rule)) is not None:
            parts.append(case)
        else:
            unproven.append(rule.name)
        if (quiet := tester.negative(rule)) is not None:
            parts.append(quiet)
    return CaseFile(_HEAD + "".join(parts) if parts else "", tuple(unproven))


class _Tester:
    """Evaluates events with all rules."""

    def __init__(self, loaded: LoadResult) -> None:
        self._loaded = loaded
        self._ruleset = compile_ruleset(loaded.rules, loaded.macros, RulesetOptions(rule_matching="all"))

    def positive(self, rule: Rule) -> str | None:
        for sequence in sequences(rule, self._loaded):
            found = self._found(sequence)
            if rule.name in found:
                return _text(f"an event of: {rule.name}", sequence, {"expect": found if len(found) > 1 else rule.name})
        return None

    def negative(self, rule: Rule) -> str | None:
        sequence = neutral(rule.condition)
        if self._found(sequence):
            return None
        return _text(f"another event than: {rule.name}", sequence, {"expect": "none", "about": rule.name})

    def _found(self, sequence: EventSequence) -> list[str]:
        """Return the rules whose alerts the events raise; none if there are summaries, or no kernel has such events."""
        suite, problems = read_suite("case_test.yaml", "cases:\n" + _text("x", sequence, {"expect": "none"}))
        if problems:
            return []
        batch = make_batch([event for event in suite.cases[0].events if isinstance(event, StatedEvent)])
        batch.names = names_by_address(suite.cases[0].names)
        evaluator = Evaluator(self._ruleset)
        alerts = [*evaluator.replay(batch), *evaluator.correlator.finish()]
        return [] if any(alert.repeats for alert in alerts) else [alert.rule for alert in alerts]


def _text(name: str, sequence: EventSequence, rest: Mapping[str, Any]) -> str:
    lines = [f"- name: {_flow(name)}"]
    if len(sequence.given) == 1:
        lines.append(f"  given: [{_flow(sequence.given[0])}]")
    else:
        lines += ["  given:", *(f"  - {_flow(event)}" for event in sequence.given)]
    if sequence.names:
        lines.append(f"  names: {_flow(sequence.names)}")
    lines += [f"  {key}: {_flow(value)}" for key, value in rest.items()]
    return "".join(f"  {line}\n" for line in lines)


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    plain = yaml.safe_dump(value, default_flow_style=True, width=sys.maxsize, allow_unicode=True, sort_keys=False)
    return plain.removesuffix("\n").removesuffix("\n...")
