"""Translates one check into predicates that the kernel can evaluate: when it, or its negation, may be true.

Most checks can't be translated: they become (Clause(event),), which lets everything through. A negation is bounded
only where the kernel's answer is the very value that the record will carry, for every event that has the field.
"""

import errno
import re
from collections.abc import Callable
from ipaddress import IPv4Network
from itertools import chain

from processor.compiler.operands import parse_port
from processor.compiler.operators import predicate
from processor.fields.event import parameter
from processor.language.ast import Check, Field, Literal, ValueList, literals
from processor.language.event_types import types_with_field
from schemas.catalog.flags import FLAG_TABLES, FlagEntry, FlagTable, flags_text
from schemas.catalog.system_calls import (
    ACCEPTS,
    ANSWERED,
    ATTRIBUTES,
    DUPLICATES,
    FILE_OPENERS,
    HELLOS,
    LINKS,
    PATH_OPENERS,
    RENAMES,
    SYMLINKS,
    TIMES,
)
from schemas.filter import CREATE, MAX_PREFIX, MAX_SUFFIX, READ, TRUNCATE, WRITE, Clause, PathPattern, Predicate

_UNCLEAN = ("//", "/.", "..")
"""A path as given that contains one of these is always sent where its class can matter, so it needs no place."""


def patterns_of(node: Check, field: str) -> frozenset[PathPattern] | None:
    """Return path patterns that cover every path for which a check may be true; None if unknown.

    Args:
        node: the check.
        field: at its left.
    """
    if node.modifier is not None or not isinstance(node.right, Literal | ValueList):
        return None
    if field == "fd.nameraw" and _needs_unclean(node):
        return frozenset()
    values = [item.text.encode("utf-8", "surrogateescape") for item in literals(node)]
    maker = _PATTERNS.get((field, node.operator))
    if maker is None:
        return None
    patterns = [maker(value) for value in values]
    return (
        None if any(pattern is None for pattern in patterns) else frozenset(pattern for pattern in patterns if pattern)
    )


def _needs_unclean(node: Check) -> bool:
    """Return whether only a path that is not normalized can make a check of the raw path true."""
    values = [item.text for item in literals(node)]
    if node.operator == "glob":
        return not any("[" in value or "\\" in value for value in values) and _all_unclean(values)
    return node.operator in ("=", "==", "in", "contains", "startswith", "endswith") and _all_unclean(values)


def _all_unclean(values: list[str]) -> bool:
    return all(any(part in value for part in _UNCLEAN) for value in values)


def _exactly(path: bytes) -> PathPattern | None:
    return _beginning(path + b"\0") if path else None


def _beginning(text: bytes) -> PathPattern | None:
    return PathPattern(is_prefix=True, text=text[:MAX_PREFIX]) if text.strip(b"/") else None


def _ending(text: bytes) -> PathPattern | None:
    return PathPattern(is_prefix=False, text=text[-MAX_SUFFIX:]) if text else None


def _beginning_as_given(text: bytes) -> PathPattern | None:
    """Match the absolute arguments that begin so: a relative one can begin with anything else."""
    return _beginning(text) if text.startswith(b"/") else None


def _named(name: bytes) -> PathPattern | None:
    return _ending(b"/" + name) if name and b"/" not in name else None


def _like(pattern: bytes) -> PathPattern | None:
    """Take what stands before the first wildcard."""
    for index, character in enumerate(pattern):
        if character in b"*?[\\":
            return _beginning(pattern[:index])
    return _exactly(pattern)


def _component(pattern: bytes) -> PathPattern | None:
    """Match the paths at or below a pattern: as far as it has no wildcard."""
    found = _like(pattern)
    return None if found is None else _beginning(found.text.removesuffix(b"\0"))


_PATTERNS: dict[tuple[str, str], Callable[[bytes], PathPattern | None]] = {
    **{("fd.name", operator): _exactly for operator in ("=", "==", "in")},
    ("fd.name", "startswith"): _beginning,
    ("fd.nameraw", "startswith"): _beginning_as_given,
    ("fd.name", "endswith"): _ending,
    ("fd.name", "glob"): _like,
    ("fd.name", "pmatch"): _component,
    # The paths in a folder, and the folder itself, which is its own directory when it is opened.
    **{("fd.directory", operator): _beginning for operator in ("=", "==", "in")},
    ("fd.directory", "startswith"): _beginning,
    **{("fd.filename", operator): _named for operator in ("=", "==", "in")},
    ("fd.filename", "endswith"): _ending,
}


_DESCRIPTOR_IS_RESULT = FILE_OPENERS | {"socket", *ACCEPTS, *DUPLICATES}
_TEXTS = {
    **dict.fromkeys(SYMLINKS, ("target", "fs.path.source")),
    **dict.fromkeys(ATTRIBUTES, ("name",)),
    "prctl": ("arg2_str",),
}
"""Fields of a text that the event carries as it was given, however many slashes it has."""
_TARGET = ("newpath", "fs.path.target")
_PATHS = {
    **dict.fromkeys((*LINKS, *RENAMES, "move_mount"), ("oldpath", "fs.path.source", *_TARGET)),
    **dict.fromkeys(
        (
            "unlink",
            "rmdir",
            "mkdir",
            "mkdirat",
            "mknod",
            "mknodat",
            "truncate",
            *TIMES,
            "swapoff",
            "file_setattr",
            "chdir",
            "chroot",
            "open_tree",
            "open_tree_attr",
        ),
        ("path", "fs.path.name"),
    ),
    **dict.fromkeys(SYMLINKS, (*_TEXTS["symlink"], "linkpath", "fs.path.target")),
    **dict.fromkeys(("chmod", "fchmodat", "fchmodat2"), ("filename", "fs.path.name")),
    "unlinkat": ("name", "fs.path.name"),
    **dict.fromkeys(ATTRIBUTES, _TEXTS["setxattr"]),
    "prctl": _TEXTS["prctl"],
}
"""Fields of the paths that the kernel evaluates, for calls that open nothing: a pattern may match any of them."""
BY_DESCRIPTOR = frozenset({"ftruncate", "fallocate", "ioctl"})
"""Calls whose file the kernel evaluates by its own path."""

_OF_FILE = frozenset({"fd.name", "fd.directory", "fd.filename"})
_NUMBERS = frozenset({"INT32", "UINT32", "PID"})
_U32 = 0xFFFFFFFF
_FAILED = Predicate("failed", 1, (1,))
_CREATES = Predicate("open", CREATE, (CREATE,))
_IS_NEW_SETUID = Predicate("new_setuid", 1, (1,))
_IS_ANSWER = Predicate("answer", 1, (1,))
_IS_HELLO = Predicate("hello", 1, (1,))
_OF_CONTENTS: dict[tuple[str, ...], Predicate] = {ANSWERED: _IS_ANSWER, HELLOS: _IS_HELLO}
"""By the event types that alone have a field, what the call sent or received then."""
_OTHER_NUMBER = 0x7FFF_FFF1
"""Represents every number that a table does not name."""

Answers = tuple[tuple[Predicate, bool], ...]
"""The check may be true if any of them is true; if empty, never."""


def upper(node: Check, event: str) -> tuple[Clause, ...]:
    """Return the clauses under which a check may be true."""
    field = node.left
    if only := types_with_field(node):
        return (Clause(event, frozenset({(_OF_CONTENTS[only], True)})),) if event in only else ()
    if not isinstance(field, Field):
        return (Clause(event),)
    if node.modifier is not None:
        return _of_each(node, event)
    if event in _PATHS and (name := _argument(field)) is not None and parameter(event, name) is None:
        # The event has no such argument, and what is missing makes a check false.
        return ()
    answers = _answers(node, field, event)
    if answers is not None:
        # Most opens create nothing, which costs less to find out.
        also = {(_CREATES, True)} if answers == ((_IS_NEW_SETUID, True),) else set()
        return tuple(Clause(event, frozenset({answer} | also)) for answer in answers)
    return (Clause(event, patterns=_patterns(node, field, event)),)


def received_answers(event: str) -> tuple[Clause, ...]:
    """Return the clauses of calls of a type that receive something from a name server."""
    return (Clause(event, frozenset({(_IS_ANSWER, True)})),) if event in ANSWERED else ()


def _of_each(node: Check, event: str) -> tuple[Clause, ...]:
    """Return the clauses of a check with a modifier: those of one of its values, or for `allof` of the first."""
    each = [upper(Check(node.left, node.operator, value), event) for value in literals(node)]
    patterns: dict[frozenset[tuple[Predicate, bool]], frozenset[PathPattern] | None] = {}
    for clause in chain.from_iterable(each[:1] if node.modifier == "allof" else each):
        known = patterns.get(clause.tests, frozenset())
        patterns[clause.tests] = None if known is None or clause.patterns is None else known | clause.patterns
    return tuple(Clause(event, tests, found) for tests, found in patterns.items())


def _patterns(node: Check, field: Field, event: str) -> frozenset[PathPattern] | None:
    if event in PATH_OPENERS or (event in BY_DESCRIPTOR and field.name in _OF_FILE):
        return patterns_of(node, field.name)
    if event in BY_DESCRIPTOR and field.name == "fs.path.name":
        return patterns_of(node, "fd.name")
    name = _argument(field) or field.name
    if name not in _PATHS.get(event, ()):
        return None
    return None if node.operator == "pmatch" and name in _TEXTS.get(event, ()) else patterns_of(node, "fd.name")


def negated(node: Check, event: str) -> tuple[Clause, ...]:
    """Return the clauses under which a check may be false."""
    field = node.left
    if not isinstance(field, Field) or not _is_exact(field.name, event):
        return (Clause(event),)
    answers = _answers(node, field, event)
    if answers is None:
        return (Clause(event),)
    return (Clause(event, frozenset((test, not expected) for test, expected in answers)),)


def _is_exact(field: str, event: str) -> bool:
    return field in ("evt.is_open_read", "evt.is_open_write", "evt.failed", "user.uid") or (
        field in _SOCKET_ENDS and event in ACCEPTS
    )


def _answers(node: Check, field: Field, event: str) -> Answers | None:
    """Return the predicates, any of which may make a check true; None if the kernel cannot evaluate it."""
    if node.modifier is not None or not isinstance(node.right, Literal | ValueList):
        return None
    if (name := _argument(field)) is not None:
        return _of_argument(node, name, event)
    maker = _ANSWERS.get(field.name)
    return None if maker is None or field.argument is not None else maker(node, event)


def _argument(field: Field) -> str | None:
    """Return the name or number of the event argument that a field reads; None if it reads none."""
    if field.name == "evt.arg":
        return field.argument
    return field.name.removeprefix("evt.arg.") if field.name.startswith("evt.arg.") and field.argument is None else None


def _values(node: Check) -> list[str]:
    return [item.text for item in literals(node)]


def _flag(test: Predicate, *, is_exact: bool = True) -> Callable[[Check, str], Answers | None]:
    def answers(node: Check, _: str) -> Answers | None:
        if node.operator not in ("=", "==", "!=") or _values(node) not in (["true"], ["false"]):
            return None
        holds = (_values(node) == ["true"]) == (node.operator != "!=")
        return ((test, holds),) if holds or is_exact else None

    return answers


def _of_descriptor(_: Check, event: str) -> Answers | None:
    """Only a call that succeeded has the descriptor that it gives; the number of a failed one is negative."""
    return ((_FAILED, False),) if event in _DESCRIPTOR_IS_RESULT else None


def _of_raw_result(node: Check, _: str) -> Answers | None:
    values = _values(node)
    if not all(value.isdigit() for value in values):
        return None
    if node.operator in (">", ">="):
        return ((_FAILED, False),)
    numbers = tuple(sorted({int(value) for value in values}))
    if node.operator in ("=", "==", "in") and numbers and numbers[-1] < _OTHER_NUMBER:
        return ((Predicate("result", _U32, numbers), True),)
    return None


def _of_result(node: Check, _: str) -> Answers | None:
    if node.operator not in ("=", "==", "in", "startswith", "contains", "endswith"):
        return None
    matches = predicate(node.operator, "CHARBUF", _values(node))
    if matches("SUCCESS"):
        return None if any(matches(name) for name in errno.errorcode.values()) else ((_FAILED, False),)
    return ((_FAILED, True),) if all(value.isalpha() for value in _values(node)) else None


def _of_user(node: Check, _: str) -> Answers | None:
    values = _values(node)
    if node.operator not in ("=", "==", "!=", "in") or not all(value.isdigit() for value in values):
        return None
    numbers = tuple(sorted({int(value) for value in values}))
    if not numbers or numbers[-1] > _U32:
        return None
    return ((Predicate("uid", _U32, numbers), node.operator != "!="),)


_FAMILIES = {
    "fd.type": {"ipv4": (2, 10), "ipv6": (10,), "unix": (1,), "netlink": (16,)},
    "fd.typechar": {"4": (2, 10), "6": (10,), "u": (1,), "n": (16,)},
    "fd.sockfamily": {"ip": (2, 10), "unix": (1,)},
}


def _of_family(field: str) -> Callable[[Check, str], Answers | None]:
    """Sockets only: an IPv4 address may be mapped into IPv6."""

    def answers(node: Check, _: str) -> Answers | None:
        known = [_FAMILIES[field].get(value) for value in _values(node)]
        families = tuple(sorted({family for found in known if found for family in found}))
        if node.operator not in ("=", "==", "in") or not families or not all(known):
            return None
        return ((Predicate("family", _U32, families), True),)

    return answers


def _of_protocol(node: Check, _: str) -> Answers | None:
    known = {"tcp": (6, 262), "udp": (17,), "icmp": (1, 58)}
    found = [known.get(value) for value in _values(node)]
    numbers = tuple(sorted({number for numbers in found if numbers for number in numbers}))
    if node.operator not in ("=", "==", "in") or not numbers or not all(found):
        return None
    return ((Predicate("protocol", _U32, numbers), True),)


_SOCKET_ENDS = {
    **dict.fromkeys(("fd.sport", "fd.lport"), "local_port"),
    **dict.fromkeys(("fd.cport", "fd.rport"), "remote_port"),
    **dict.fromkeys(("fd.sip", "fd.lip", "fd.snet", "fd.lnet"), "local_ip"),
    **dict.fromkeys(("fd.cip", "fd.rip", "fd.cnet", "fd.rnet"), "remote_ip"),
}
"""The ends of an accepted connection; other calls have the address in memory that may change."""


def _of_end(subject: str) -> Callable[[Check, str], Answers | None]:
    def answers(node: Check, event: str) -> Answers | None:
        if event not in ACCEPTS or node.operator not in ("=", "==", "in"):
            return None
        by_mask: dict[int, set[int]] = {}
        for value in _values(node):
            if subject.endswith("port"):
                by_mask.setdefault(_U32, set()).add(parse_port(value))
                continue
            try:
                net = IPv4Network(value, strict=False)
            except ValueError:
                return None
            by_mask.setdefault(int(net.netmask), set()).add(int(net.network_address))
        return tuple((Predicate(subject, mask, tuple(sorted(numbers))), True) for mask, numbers in by_mask.items())

    return answers


def _of_argument(node: Check, name: str, event: str) -> Answers | None:
    """Read names of numbers and of flags by the table that the record's text will come from."""
    found = parameter(event, name)
    if found is None:
        return None
    table = FLAG_TABLES.get(found.info)
    values = _values(node)
    if found.type in _NUMBERS and found.format == "DEC" and node.operator in ("=", "==", "in"):
        numbers = sorted({int(value) for value in values if value.isdecimal() and int(value) <= _U32})
        is_whole = numbers and len(numbers) == len(set(values))
        return ((Predicate(f"arg.{found.name}", _U32, tuple(numbers)), True),) if is_whole else None
    if found.name == "request" and found.format == "HEX" and node.operator in ("=", "==", "in"):
        if not all(re.fullmatch("[0-9A-F]{1,8}", value) for value in values):
            return None
        return ((Predicate(f"arg.{found.name}", _U32, tuple(sorted({int(value, 16) for value in values}))), True),)
    if table is None or node.operator not in ("=", "==", "in", "contains", "startswith", "endswith"):
        return None
    if any(not any(character.isalpha() for character in value) or "|" in value for value in values):
        return None
    matches = predicate(node.operator, "CHARBUF", values)
    if table.kind != "flags":
        return _of_number(table.name, found.name, matches)
    if node.operator != "contains":
        return None
    chosen = [entry for entry in table.entries if matches(entry.name)]
    if table.name == "file_flags":
        is_truncation = event in PATH_OPENERS and [entry.name for entry in chosen] == ["O_TRUNC"]
        return ((Predicate("open", TRUNCATE, (TRUNCATE,)), True),) if is_truncation else None
    return _of_flags(table, found.name, chosen)


def _of_flags(table: FlagTable, name: str, chosen: list[FlagEntry]) -> Answers | None:
    numbers = 0
    for entry in chosen:
        numbers |= entry.number
    bits = 0
    for entry in table.entries:
        if entry.number & numbers:
            if entry.kernel is None:
                continue
            # Only of flags whose bits all have to be set, or any, is "one of these bits" a bound.
            if not entry.mask or (entry.kernel == 0 and not entry.any_bit):
                return None
            bits |= entry.mask & (_U32 if entry.any_bit else entry.kernel)
    is_bound = bits and all(entry.number for entry in chosen)
    return ((Predicate(f"arg.{name}", bits, (0,)), False),) if is_bound else None


def _of_number(table: str, name: str, matches: Callable[[str], bool]) -> Answers | None:
    entries = FLAG_TABLES[table].entries
    numbers = {number for entry in entries for number in (entry.kernel, entry.number) if number is not None}
    if matches(flags_text(table, _OTHER_NUMBER) or str(_OTHER_NUMBER)):
        return None
    chosen = sorted({number & _U32 for number in numbers if matches(flags_text(table, number) or str(number))})
    return ((Predicate(f"arg.{name}", _U32, tuple(chosen)), True),) if chosen else ()


_ANSWERS: dict[str, Callable[[Check, str], Answers | None]] = {
    "evt.is_open_read": _flag(Predicate("open", READ, (READ,))),
    "evt.is_open_write": _flag(Predicate("open", WRITE, (WRITE,))),
    "evt.is_open_exec": _flag(_CREATES, is_exact=False),
    "evt.is_open_create": _flag(_CREATES, is_exact=False),
    "evt.is_open_setuid": _flag(_IS_NEW_SETUID, is_exact=False),
    "evt.failed": _flag(_FAILED),
    "fd.num": _of_descriptor,
    "evt.rawres": _of_raw_result,
    "evt.res": _of_result,
    "user.uid": _of_user,
    **{field: _of_family(field) for field in _FAMILIES},
    "fd.l4proto": _of_protocol,
    **{field: _of_end(subject) for field, subject in _SOCKET_ENDS.items()},
}
