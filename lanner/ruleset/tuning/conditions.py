"""The conditions that an alert's fields meet, of which an exception may be made. Pure.

Values are generalized as people do it: a number in a path or command line becomes `[0-9]*`, a path its folders. A part
that has words is never replaced, because that would also excuse what nobody has seen.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from processor.compiler.values.literals import fits_in_rule
from processor.detection.redaction import MASK

PROGRAM = "proc.codepath"
IMAGE = "container.image.repository"
FILE = "fd.name"
PATH = "fs.path.name"
OBJECTS = (FILE, PATH, "fs.path.target", "fd.sip", "fd.sport", "proc.cmdline")
CLAIMED = frozenset({"proc.cmdline"})
"""Whoever starts a program chooses these."""
PARENT = "proc.pcodepath"
CONTEXT = (IMAGE, "k8s.ns.name", PARENT)
USER = "user.name"
CHANGEABLE = CLAIMED | {USER, "k8s.ns.name"}
"""What an exception of a rule's author may leave out although alerts share it."""
_ANYTHING = frozenset(
    {
        *("ash", "awk", "bash", "busybox", "chroot", "csh", "dash", "doas", "env", "fish", "flock", "gawk"),
        *("ionice", "java", "ksh", "lua", "mawk", "mksh", "nice", "node", "nodejs", "nohup", "nsenter", "perl"),
        *("php", "platform-python", "python", "ruby", "runuser", "script", "setpriv", "setsid", "sh", "ssh"),
        *("sshd", "sshd-session", "su", "sudo", "systemd", "systemd-run", "tclsh", "tcsh", "timeout"),
        *("unshare", "xargs", "zsh"),
    }
)
"""Names of programs that run whatever their arguments name or somebody types: their paths excuse everything."""
_GENERALIZED = frozenset({FILE, PATH, "fs.path.target", "proc.cmdline"})
_MIN_FIELDS = 2
_MIN_DEPTH = 2
"""Folders of a prefix, at least: /etc/ alone would excuse too much."""
_MAX_DEPTH = 16
_NUMBER = re.compile(r"\d+")
_PATTERN = re.compile(r"[*?\[\]\\]")
_MAX_PORT = 32_767
"""Higher ports are chosen at random."""
_RANKS = {"=": 0, "glob": 1, "startswith": 2}


@dataclass(frozen=True, slots=True)
class FieldCondition:
    """One field compared with a value."""

    field: str
    operator: str
    value: str

    @property
    def text(self) -> str:
        """The condition as people read it."""
        return f"{self.field} {self.operator} {self.value}"


def conditions_of(fields: Mapping[str, Any]) -> frozenset[FieldCondition]:
    """Return all conditions that an alert's fields meet."""
    found = []
    for name in (PROGRAM, *OBJECTS, *CONTEXT, USER):
        value = _text(fields.get(name))
        if value is None or _is_random(name, value) or (name in (PROGRAM, PARENT) and _does_anything(value)):
            continue
        found.append(FieldCondition(name, "=", value))
        if name in _GENERALIZED:
            found.extend(FieldCondition(name, *each) for each in _generalized(value))
    return frozenset(found)


def most_specific(conditions: Iterable[FieldCondition]) -> tuple[FieldCondition, ...]:
    """Return one condition of each field, the most specific, in the order in which people read them."""
    best: dict[str, FieldCondition] = {}
    for each in conditions:
        known = best.get(each.field)
        if known is None or _specificity(each) < _specificity(known):
            best[each.field] = each
    if FILE in best and best.get(PATH) == twin_of(best[FILE]):
        del best[PATH]
    order = (IMAGE, "k8s.ns.name", PROGRAM, *OBJECTS, PARENT, USER)
    return tuple(best[name] for name in order if name in best)


def twin_of(condition: FieldCondition) -> FieldCondition | None:
    """Return what is the same about the path that a call operates on: calls with a descriptor often have both."""
    return FieldCondition(PATH, condition.operator, condition.value) if condition.field == FILE else None


def wideness(conditions: Iterable[FieldCondition]) -> int:
    """Return how far conditions are from equality; 0 if all compare for it."""
    return sum(_RANKS[each.operator] for each in conditions)


def is_narrow(fields: Collection[str], *, is_declared: bool = False) -> bool:
    """Return whether conditions on these fields name a program or image, and what it does or where it runs.

    Args:
        fields: of an exception.
        is_declared: whether a rule's author chose them. Then the parent is enough; else it isn't, because a shell is
            the parent of whatever people start.
    """
    beside = {USER} if is_declared else {USER, PARENT}
    return not {PROGRAM, IMAGE}.isdisjoint(fields) and len({*fields} - beside) >= _MIN_FIELDS


def _text(value: Any) -> str | None:
    """Return a value that a rule can state; None if it is missing, or what it held was replaced."""
    if value is None or isinstance(value, bool | list | tuple | dict) or value in ("", "<NA>"):
        return None
    text = str(value)
    return text if fits_in_rule(text) and text.isprintable() and "\ufffd" not in text and MASK not in text else None


def _is_random(name: str, value: str) -> bool:
    """Return whether a value names one connection, which doesn't come again."""
    return (name == FILE and "->" in value) or (
        name == "fd.sport" and not (value.isdecimal() and int(value) <= _MAX_PORT)
    )


def _does_anything(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith("ld-") or name.rstrip("0123456789.") in _ANYTHING


def _generalized(value: str) -> Iterator[tuple[str, str]]:
    if not _PATTERN.search(value):
        pattern = _NUMBER.sub("[0-9]*", value)
        if pattern != value and fits_in_rule(pattern):
            yield "glob", pattern
    if value.startswith("/"):
        parts = value.split("/")[1:-1][:_MAX_DEPTH]
        for depth in range(_MIN_DEPTH, len(parts) + 1):
            yield "startswith", f"/{'/'.join(parts[:depth])}/"


def _specificity(condition: FieldCondition) -> tuple[int, int]:
    return _RANKS[condition.operator], -len(condition.value)
