"""The event types for which a condition can be true.

Rules are indexed by event type, the pushdown filter is derived from them, and a rule that restricts none
gets a warning. The result is never too small: a check that cannot be decided counts as every type.

Source: libsinsp filter/ppm_codes.cpp.
"""

from collections.abc import Callable
from functools import lru_cache, partial, reduce
from operator import and_, or_

from processor.language.ast import (
    Ancestor,
    And,
    Argument,
    Check,
    Field,
    Literal,
    Macro,
    MacroRef,
    Node,
    Not,
    Transformer,
    ValueList,
    children,
    literals,
)
from schemas.catalog.fields import EVENTS, SYSCALLS
from schemas.catalog.system_calls import ANSWERED, HELLOS

ALL_EVENT_TYPES: frozenset[str] = frozenset(EVENTS) | SYSCALLS
"""Every value that evt.type can have."""

BROAD = 100
"""A condition that matches more event codes than this is evaluated for nearly every event."""

_NAMES = sorted(ALL_EVENT_TYPES)
_BITS = {name: 1 << position for position, name in enumerate(_NAMES)}
_ALL = (1 << len(_NAMES)) - 1
_NONE = 0
_ONLY = {"dns.": ANSWERED, "tls.": HELLOS}
"""By the beginning of fields, the only event types that have them."""

# An event type has a code for entry and one for exit, and twice as many for each later version.
_CODES = {
    "accept": 8,
    "bpf": 4,
    "brk": 4,
    "clone": 8,
    "container": 3,
    "dup": 4,
    "execve": 16,
    "fork": 6,
    "ioctl": 4,
    "link": 4,
    "linkat": 4,
    "mkdir": 4,
    "openat": 4,
    "rmdir": 4,
    "select": 4,
    "umount": 4,
    "unlink": 4,
    "unlinkat": 4,
    "vfork": 6,
}
_GENERIC_CODES = 2


def event_types(condition: Node) -> frozenset[str]:
    """Return the event types for which a condition can be true; ALL_EVENT_TYPES if it does not restrict them.

    An unresolved macro counts as every type.
    """
    return _names(_Search().types(condition, negated=False))


@lru_cache(maxsize=1024)
def _names(mask: int) -> frozenset[str]:
    return ALL_EVENT_TYPES if mask == _ALL else frozenset(name for name, bit in _BITS.items() if mask & bit)


def is_broad(types: frozenset[str]) -> bool:
    """Return whether a rule on these event types deserves a warning: more than BROAD event codes match."""
    own = [name for name in types if name in EVENTS]
    codes = sum(_CODES.get(name, 2) for name in own)
    return codes + (_GENERIC_CODES if len(own) < len(types) else 0) > BROAD


class _Search:
    """Pushes negations down to the checks, because only a check on evt.type has a complement."""

    __slots__ = ("_macros",)

    def __init__(self) -> None:
        self._macros: dict[tuple[int, bool], int] = {}

    def types(self, node: Node, *, negated: bool) -> int:
        if isinstance(node, Check):
            return _check(node, negated=negated)
        if isinstance(node, Macro):
            # Macros share bodies: each is searched once, however often it is used.
            key = (id(node.body), negated)
            if key not in self._macros:
                self._macros[key] = self.types(node.body, negated=negated)
            return self._macros[key]
        if isinstance(node, MacroRef | Ancestor):
            return _ALL
        masks = map(partial(self.types, negated=negated is not isinstance(node, Not)), children(node))
        return reduce(and_, masks, _ALL) if isinstance(node, And) is not negated else reduce(or_, masks, _NONE)


def types_with_field(check: Check) -> tuple[str, ...]:
    """Return the only event types that have a check's field, because of what the call sent or received; () if any may.

    The check is false of events of other types.
    """
    side: Argument = check.left
    while isinstance(side, Transformer) and len(side.arguments) == 1:
        side = side.arguments[0]
    return _ONLY.get(side.name[:4], ()) if isinstance(side, Field) else ()


def _check(check: Check, *, negated: bool) -> int:
    if only := types_with_field(check):
        return _ALL if negated else sum(_BITS[name] for name in only)
    name = check.left.name if isinstance(check.left, Field) and check.left.argument is None else ""
    if name == "evt.type" and check.modifier is None:
        mask = _named_types(check)
        if mask is not None:
            return _ALL & ~mask if negated else mask
    elif name == "evt.num" and check.modifier is None:
        return _by_number(check, negated=negated)
    return _ALL


def _named_types(check: Check) -> int | None:
    if check.operator == "exists":
        return _ALL
    if check.operator not in ("=", "==", "!=", "in"):
        return None
    if not isinstance(check.right, Literal | ValueList):
        return None
    mask = _NONE
    for value in literals(check):
        mask |= _BITS.get(value.text, _NONE)
    return _ALL & ~mask if check.operator == "!=" else mask


_CAN_HOLD: dict[str, tuple[Callable[[int], bool], Callable[[int], bool]]] = {
    "=": (lambda n: n >= 1, lambda _: True),
    "==": (lambda n: n >= 1, lambda _: True),
    "!=": (lambda _: True, lambda n: n >= 1),
    "<": (lambda n: n > 1, lambda _: True),
    "<=": (lambda n: n >= 1, lambda _: True),
    ">": (lambda _: True, lambda n: n >= 1),
    ">=": (lambda _: True, lambda n: n > 1),
}
"""For each operator on evt.num, which starts at 1: whether any event satisfies it, and whether any does not."""


def _by_number(check: Check, *, negated: bool) -> int:
    if not isinstance(check.right, Literal | ValueList):
        return _ALL
    values = [value.text for value in literals(check)]
    try:
        numbers = [int(value, 16 if value[:2].lower() == "0x" else 10) for value in values]
    except ValueError:
        return _ALL
    if any(number < 0 for number in numbers):
        # A negative number wraps around to a very large one.
        return _ALL
    if check.operator in ("in", "intersects"):
        return _ALL if negated or any(number >= 1 for number in numbers) else _NONE
    holds = _CAN_HOLD.get(check.operator)
    if holds is None or len(numbers) != 1:
        return _ALL
    return _ALL if holds[negated](numbers[0]) else _NONE
