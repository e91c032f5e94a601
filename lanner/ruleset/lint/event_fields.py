"""Finds fields that the events of a condition never have: `fd.lport` of a `listen`, `fd.name` of an `unlink`."""

from collections.abc import Iterator

from collector.events.system_calls import BY_EVENT, NONE, Call, DescriptorFlag
from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from foundation.yaml.text import node_location
from lanner.ruleset.lint.codes import LintCode
from lanner.ruleset.lint.texts import ConditionText
from processor.compiler.operands import field_text
from processor.language.ast import And, Check, Field, Macro, Or, children
from processor.language.ast import Node as Condition
from processor.language.event_types import ALL_EVENT_TYPES, event_types
from processor.loading import LoadedMacro, Problem
from processor.loading.condition_checks import fields_of
from schemas.catalog.fields import NUMBERED, resolve_field
from schemas.catalog.system_calls import CONNECTS, FILE_OPENERS, FLAG_OPENERS, MESSAGES

_UNCONNECTED = frozenset({"socket", "bind", "listen"})
"""Calls on a socket that has no other end yet."""
_ON_SOCKETS = frozenset({*_UNCONNECTED, *CONNECTS, *MESSAGES, "send", "recv", "shutdown", "setsockopt", "getsockopt"})
_ENDS = tuple(f"{end}{kind}" for kind in ("ip", "port", "net", "proto") for end in ("s", "r", "c", "l"))
_LOCAL = frozenset({*_ENDS[::4], "ip", "port", "net", "proto", "sockfamily"})
"""The parts of `fd` that a socket without another end can have."""
_OF_SOCKETS = _LOCAL.union(_ENDS)
_OF_FILES = frozenset({"filename"})
_PATHS = ("fs.path.name", "fs.path.source", "fs.path.target", "fd.name")
_ROLES = {"name": "n", "nameraw": "n", "source": "s", "sourceraw": "s", "target": "t", "targetraw": "t"}
_WITH_PATH_OF_DESCRIPTOR = frozenset(
    {*FLAG_OPENERS, "fchmod", "fchown", "ftruncate", "fallocate", "fsetxattr", "futimesat", "utimensat"}
)
_MOST_NAMED = 3


def fields_of_other_events(text: ConditionText) -> Iterator[Problem]:
    """Yield a problem for each field of a condition that no event has for which its part can be true."""
    todo: list[tuple[Condition, frozenset[str]]] = [(text.tree, ALL_EVENT_TYPES)]
    while todo:
        node, types = todo.pop()
        if isinstance(node, Check):
            for field in fields_of(node):
                if (found := _problem_of(field_text(field), types)) is not None:
                    yield text.problem(LintCode.LINT_FIELD_OF_OTHER_EVENTS, found[0], field.span, found[1])
        elif not isinstance(node, Macro):
            if isinstance(node, And):
                types &= event_types(node)
            is_or = isinstance(node, Or)
            todo += [(child, types & event_types(child) if is_or else types) for child in reversed(children(node))]


def correlated_fields_of_other_events(macro: LoadedMacro) -> Iterator[Problem]:
    """Yield a problem for each field of a correlation that the events of a leg never have: these don't count."""
    correlation = macro.correlation
    if correlation is None or correlation.is_over_rules:
        return
    legs: list[tuple[str, Condition]] = [("", macro.condition)]
    if correlation.kind.is_temporal:
        parts = macro.condition.children if isinstance(macro.condition, Or) else (macro.condition,)
        legs = [(part.name, part) for part in parts if isinstance(part, Macro) and part.name in correlation.legs]
    for name, condition in legs:
        types = event_types(condition)
        for text in dict.fromkeys((*correlation.group_fields(name), *correlation.fields)):
            if (found := _problem_of(text, types)) is not None:
                extension = macro.extensions["correlation"]
                location = node_location(_scalar(extension, text) or extension)
                code = LintCode.LINT_FIELD_OF_OTHER_EVENTS
                yield Problem(code, f"{found[0]}, so they don't count", "macro", macro.name, location, found[1])


def _scalar(node: Node, value: str) -> ScalarNode | None:
    todo = [node]
    while todo:
        current = todo.pop()
        if isinstance(current, ScalarNode):
            if current.value == value:
                return current
        elif isinstance(current, SequenceNode):
            todo += current.items
        elif isinstance(current, MappingNode):
            todo += [each for _, each in current.pairs]
    return None


def _problem_of(text: str, types: frozenset[str]) -> tuple[str, str] | None:
    """Return the message and the hint about a field that events of these types never have."""
    resolved = resolve_field(text)
    if resolved is None:
        return None
    field = Field(resolved[0].name, resolved[1])
    if not types or any(event_has_field(each, field) for each in types):
        return None
    named = sorted(types)
    others = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    of = f"type {named[0]}" if len(named) == 1 else f"the types {', '.join(named[:_MOST_NAMED])}{others}"
    return f"'{text}' never has a value in events of {of}", _hint(field, types)


def _hint(field: Field, types: frozenset[str]) -> str:
    if field.name in NUMBERED:
        arguments = sorted({each.name for event in types for each in BY_EVENT[event].arguments if each.kind != "none"})
        return did_you_mean(str(field.argument), arguments) or f"their arguments are {', '.join(arguments)}"
    part = field.name.removeprefix("fd.")
    ends = [f"fd.{each}" for each in _ENDS if each[1:] == part[1:]] if part in _ENDS else []
    fitting = [
        each for each in (*ends, *(() if ends else _PATHS)) if all(event_has_field(one, Field(each)) for one in types)
    ]
    return f"write {' or '.join(fitting)}" if fitting else "compare a field that they have, or remove the comparison"


def event_has_field(event_type: str, field: Field) -> bool:
    """Return whether some event of a type may have a field; true if that isn't known."""
    call = BY_EVENT.get(event_type)
    if call is None:
        return event_type != "procexit" or not field.name.startswith(("fd.", "fs.path."))
    if field.name in NUMBERED and field.argument is not None and not field.argument.isdecimal():
        return event_type in _EXECUTES or any(each.name == field.argument for each in call.arguments)
    if field.name.startswith("fs.path."):
        part = field.name.removeprefix("fs.path.")
        is_known = _ROLES.get(part, "") in call.path_roles
        return is_known or (part in ("name", "nameraw") and event_type in _WITH_PATH_OF_DESCRIPTOR)
    return not field.name.startswith("fd.") or _has_descriptor_part(call, field.name.removeprefix("fd."))


_EXECUTES = ("execve", "execveat")


def _has_descriptor_part(call: Call, part: str) -> bool:
    if call.fd == NONE and not call.flags & DescriptorFlag.FD_IS_RESULT:
        return False
    part = part.removesuffix(".name")
    if call.event in FILE_OPENERS:
        return part not in _OF_SOCKETS
    if call.event not in _ON_SOCKETS:
        return True
    if part in _OF_FILES:
        return False
    return part not in _OF_SOCKETS or part in _LOCAL or call.event not in _UNCONNECTED
