"""Lints of single comparisons: values that a field can't have, or that look like something else than they are."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from lanner.ruleset.lint.codes import LintCode
from lanner.ruleset.lint.texts import ConditionText, ListItems
from processor.compiler.operands import byte_length
from processor.language.ast import Check, Field, Literal, ValueList, literals
from processor.language.tokens import EQUALITY_OPERATORS, LIST_OPERATORS
from processor.loading import LoadedList, Problem

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
