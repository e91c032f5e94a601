"""Lints of single comparisons: values that a field can't have, and fields that the events of a condition never have.

Such fields are `fd.lport` of a `listen`, or `fd.name` of an `unlink`.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from collector.events.system_calls import BY_EVENT, NONE, Call, DescriptorFlag
from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from foundation.yaml.text import node_location
from lanner.ruleset.lint.codes import LintCode
from lanner.ruleset.lint.texts import ConditionText, ListItems
from processor.compiler.operands import byte_length, field_text
from processor.language.ast import And, Check, Field, Literal, Macro, Or, ValueList, children, literals
from processor.language.ast import Node as Condition
from processor.language.event_types import ALL_EVENT_TYPES, event_types
from processor.language.tokens import EQUALITY_OPERATORS, LIST_OPERATORS
from processor.loading import LoadedList, LoadedMacro, Problem
from processor.loading.condition_checks import fields_of
from schemas.catalog.fields import NUMBERED, resolve_field
from schemas.catalog.system_calls import CONNECTS, FILE_OPENERS, FLAG_OPENERS, MESSAGES

_COMM_BYTES = 15
"""Linux stores this many bytes of a process name. Source: TASK_COMM_LEN in include/linux/sched.h."""

_PROCESS_NAMES = frozenset({"proc.name", "proc.pname", "proc.aname", "proc.sname", "proc.vpgid.name", "proc.pgid.name"})
_BASE_NAMES = _PROCESS_NAMES | {"fd.filename"}
_PATHS = frozenset(
    {
        *("proc.exepath", "proc.pexepath", "proc.aexepath", "proc.sid.exepath"),
        *("proc.vpgid.exepath", "proc.pgid.exepath", "proc.codepath", "proc.pcodepath", "proc.acodepath"),
        *("evt.path", "fd.name", "fd.realpath", "fd.directory", "fs.path.name", "fs.path.source", "fs.path.target"),
    }
)
_OTHER_NAMES = frozenset(
    {
        *("proc.exe", "proc.pexe", "proc.aexe", "user.name", "user.loginname", "group.name", "container.name"),
        *("container.image", "container.image.repository", "container.image.tag", "k8s.ns.name", "k8s.pod.name"),
        *("k8s.deployment.name", "k8s.owner.name"),
    }
)
_ENDS = frozenset({"startswith", "endswith"})
_PARTS = EQUALITY_OPERATORS | _ENDS | {"contains"}
_CLOSE = 0.85
_CLOSE_LENGTH = 2
_MOST_SIMILAR = 10
_ENDS_OF_LISTS = ("_binaries", "_directories", "_images", "_names", "_paths", "_ports", "_procs", "_programs", "_repos")
"""How Falco's and the built-in rules name lists."""
_PLAIN_NAME = re.compile(r"[A-Za-z_.][\w.+-]*")
_UNREAL = re.compile(r"^(?:~|\$|\./|\.\./|//)|.//|/\.{1,2}/")
"""Paths that only a shell or a program expands."""
_QUOTES = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb"
_UNCONNECTED = frozenset({"socket", "bind", "listen"})
"""Calls on a socket that has no other end yet."""
_ON_SOCKETS = frozenset({*_UNCONNECTED, *CONNECTS, *MESSAGES, "send", "recv", "shutdown", "setsockopt", "getsockopt"})
_END_PARTS = tuple(f"{end}{kind}" for kind in ("ip", "port", "net", "proto") for end in ("s", "r", "c", "l"))
_PATH_FIELDS = ("fs.path.name", "fs.path.source", "fs.path.target", "fd.name")
_LOCAL = frozenset({*_END_PARTS[::4], "ip", "port", "net", "proto", "sockfamily"})
"""The parts of `fd` that a socket without another end can have."""
_OF_SOCKETS = _LOCAL.union(_END_PARTS)
_OF_FILES = frozenset({"filename"})
_ROLES = {"name": "n", "nameraw": "n", "source": "s", "sourceraw": "s", "target": "t", "targetraw": "t"}
_WITH_PATH_OF_DESCRIPTOR = frozenset(
    {*FLAG_OPENERS, "fchmod", "fchown", "ftruncate", "fallocate", "fsetxattr", "futimesat", "utimensat"}
)
_MOST_NAMED = 3
_EXECUTES = ("execve", "execveat")


def value_problems(text: ConditionText, items: ListItems) -> Iterator[Problem]:
    """Yield the problems of a condition's comparisons; those of values from lists are located there."""
    for check in text.checks():
        if isinstance(check.right, ValueList) and not check.right.items:
            yield from _of_empty_list(text, check)
        name = check.left.name if isinstance(check.left, Field) else ""
        for value in literals(check):
            found = _of_value(name, check.operator, value) or _of_list(check.operator, value, items.lists)
            if found is not None:
                yield text.problem_of_value(found[0], found[1], value, found[2], items)


def _of_empty_list(text: ConditionText, check: Check) -> Iterator[Problem]:
    right = check.right
    # An empty list that has a name is there to be appended to.
    if right is not None and not text.traced.written(right.span).strip("() \t\r\n"):
        message = f"the list after '{check.operator}' is empty, so the comparison is never true"
        yield text.problem(LintCode.LINT_EMPTY_LIST, message, check.span, "write the values, or remove the comparison")


def _of_list(operator: str, value: Literal, lists: Mapping[str, LoadedList]) -> tuple[LintCode, str, str] | None:
    """Return the problem of a value that was probably meant as a list, which rules name like a value."""
    name = value.text
    if operator not in LIST_OPERATORS or value.quoted or "_" not in name or name in lists:
        return None
    similar = [each for each in lists if each[:1] == name[:1] and abs(len(each) - len(name)) <= _CLOSE_LENGTH]
    nearest = get_close_matches(name, similar[:_MOST_SIMILAR], n=1, cutoff=_CLOSE)
    if not nearest and not name.endswith(_ENDS_OF_LISTS):
        return None
    hint = f"did you mean '{nearest[0]}'?" if nearest else "define the list, or load the file that does"
    return LintCode.LINT_UNKNOWN_LIST, f"there is no list '{name}', so it is compared as text", hint


def _of_value(field: str, operator: str, value: Literal) -> tuple[LintCode, str, str] | None:
    """Return code, message and hint of a value's problem, of several the one that explains it best."""
    text = value.text
    if not value.quoted and text and (text[0] in _QUOTES or text[-1] in _QUOTES):
        message = f"'{text}' includes typographic quotation marks: they are part of the value"
        return LintCode.LINT_TYPOGRAPHIC_QUOTE, message, f'write "{text.strip(_QUOTES)}", with straight quotation marks'
    if (found := _of_pattern(field, operator, text)) is not None:
        return found
    if (
        field in _BASE_NAMES
        and operator in EQUALITY_OPERATORS | {"startswith"}
        and text.startswith("/")
        and len(text) != _COMM_BYTES
    ):
        # Some programs (Perl's) set their name to a path, of which Linux stores 15 bytes: /usr/sbin/spamd.
        message = f"'{text}' is a path, and {field} is a name without folders"
        other = "fd.name" if field == "fd.filename" else field.replace("name", "exepath")
        other = other if other in _PATHS else "proc.exepath"
        return LintCode.LINT_PATH_AS_NAME, message, f"compare {other}, or write '{text.rstrip('/').rpartition('/')[2]}'"
    if field in _PROCESS_NAMES and operator in _PARTS and byte_length(text) > _COMM_BYTES:
        message = f"'{text}' has {byte_length(text)} bytes, and Linux stores only {_COMM_BYTES} of a process name"
        short = text.encode("utf-8", "surrogateescape")[:_COMM_BYTES].decode("utf-8", "ignore")
        instead = "compare proc.cmdline" if " " in text else f"write '{short}', or compare the path of the program"
        return LintCode.LINT_LONG_NAME, message, instead
    if field in _PATHS and operator in EQUALITY_OPERATORS | {"startswith"} and _UNREAL.search(text):
        message = f"'{text}' is never a value of {field}: paths are absolute, and have no '..' or '//'"
        return LintCode.LINT_UNREAL_PATH, message, "write the absolute path, or a pattern: 'fd.name glob /home/*/...'"
    if field in _PATHS and operator in EQUALITY_OPERATORS:
        return _of_path(field, text)
    return None


def _of_pattern(field: str, operator: str, text: str) -> tuple[LintCode, str, str] | None:
    is_path = field in _PATHS
    wildcards = "*?" if is_path and operator in EQUALITY_OPERATORS else "*"
    if field not in _PATHS | _BASE_NAMES | _OTHER_NAMES or operator not in _PARTS or not set(text) & set(wildcards):
        return None
    message = f"'{operator}' compares literally, so '{text}' is not a pattern"
    if operator in ("in", "intersects"):
        hint = f"write '{field} glob anyof (...)'" + (f", or '{field} pmatch (...)'" if is_path else "")
    elif operator in _ENDS | {"contains"}:
        hint = f"remove '*': '{field} {operator} {text.strip('*')}'"
    else:
        hint = f"write '{field} glob {text}'"
    return LintCode.LINT_GLOB, message, hint


def _of_path(field: str, text: str) -> tuple[LintCode, str, str] | None:
    if len(text) > 1 and text.endswith("/"):
        message = f"'{text}' ends with a slash, and {field} doesn't"
        return LintCode.LINT_TRAILING_SLASH, message, f"write '{text.rstrip('/')}'"
    if _PLAIN_NAME.fullmatch(text):
        message = f"'{text}' is a name, and {field} is a whole path"
        return LintCode.LINT_NAME_AS_PATH, message, _instead_of_path(field, text)
    return None


def _instead_of_path(field: str, text: str) -> str:
    if field == "fd.directory":
        return f"write '/.../{text}', or '{field} endswith /{text}'"
    name = "fd.filename" if field.startswith("fd.") else field.replace("exepath", "name")
    return f"compare {name}" if name in _BASE_NAMES and name != field else f"write '{field} endswith /{text}'"


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
    ends = [f"fd.{each}" for each in _END_PARTS if each[1:] == part[1:]] if part in _END_PARTS else []
    fitting = [
        each
        for each in (*ends, *(() if ends else _PATH_FIELDS))
        if all(event_has_field(one, Field(each)) for one in types)
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
