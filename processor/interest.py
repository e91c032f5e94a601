"""Derives from rules which opens of files could matter: a sound over-approximation that the kernel can judge.

A condition is bounded from above in three words: what kind of open, where the path lies, and "could be" for the rest.
Two bounds stand for each check, *may be true* and *must be true*, and negation swaps them; the upper bound is then
written as a list of ways to matter, each with the classes and the places that it allows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from processor.compiler.checks import literals
from processor.compiler.simplify import simplify
from processor.language.ast import And, Check, Field, Literal, Macro, Node, Not, Or, ValueList
from schemas.interest import CLASSES, CREATE, FAILED, MASK_BITS, MAX_PREFIX, MAX_SUFFIX, READ, WRITE, Interest

OPENS = ("open", "openat", "openat2", "creat")
_ALL_CLASSES = frozenset(range(CLASSES))
_MAX_WAYS = 64
"""Ways that one rule is written in; a condition that needs more is taken as always possible."""


@dataclass(frozen=True, slots=True)
class Place:
    """A set of paths: those that begin or end with a text."""

    is_prefix: bool
    text: bytes


@dataclass(frozen=True, slots=True)
class Way:
    """One way to matter: an open of these classes, at one of these places; None: anywhere."""

    classes: frozenset[int] = _ALL_CLASSES
    places: frozenset[Place] | None = None


Ways = tuple[Way, ...]
_ALWAYS: Ways = (Way(),)
_NEVER: Ways = ()


def derive(conditions: Sequence[Node]) -> Interest:
    """Derive the interest of rules whose macros are resolved."""
    masks: dict[str, list[int]] = {event: [0] * CLASSES for event in OPENS}
    anywhere = 0
    raw: dict[Place, int] = {}
    numbers: dict[tuple[frozenset[Place] | None, str, frozenset[int]], int] = {}
    for event in OPENS:
        for condition in conditions:
            for way in _ways_of(condition, event):
                key = (way.places, event, way.classes)
                bit = 1 << (numbers.setdefault(key, len(numbers)) % MASK_BITS)
                for number in way.classes:
                    masks[event][number] |= bit
                if way.places is None:
                    anywhere |= bit
                for place in way.places or ():
                    raw[place] = raw.get(place, 0) | bit
    # The flags of openat2 lie in memory that another thread may change: only the result tells classes apart.
    masks["openat2"] = [
        _join(masks["openat2"][n] for n in range(CLASSES) if (n ^ k) & FAILED == 0) for k in range(CLASSES)
    ]
    return Interest(
        classes={event: tuple(row) for event, row in masks.items()},
        anywhere=anywhere,
        prefixes=_accumulated({place.text: mask for place, mask in raw.items() if place.is_prefix}, bytes.startswith),
        suffixes=_accumulated({place.text: mask for place, mask in raw.items() if not place.is_prefix}, bytes.endswith),
    )


def _accumulated(masks: dict[bytes, int], within: Callable[[bytes, bytes], bool]) -> dict[bytes, int]:
    """Add to each text the masks of those within it: a longest-match table gives only one entry."""
    return {text: _join(mask for other, mask in masks.items() if within(text, other)) for text in masks}


def _join(masks: Iterable[int]) -> int:
    joined = 0
    for mask in masks:
        joined |= mask
    return joined


def _ways_of(condition: Node, event: str) -> Ways:
    folded = simplify(condition, event)
    if isinstance(folded, bool):
        return _ALWAYS if folded else _NEVER
    try:
        return _bound(folded, upper=True)
    except RecursionError:
        return _ALWAYS


def _bound(node: Node, *, upper: bool) -> Ways:
    """Bound a condition: from above the ways in which it may be true, from below those in which its negation may.

    The lower bound is written as the upper bound of the negation: not (A and B) <= not A or not B.
    """
    if isinstance(node, Macro):
        return _bound(node.body, upper=upper)
    if isinstance(node, Not):
        return _bound(node.child, upper=not upper)
    if isinstance(node, Check):
        return _check(node) if upper else _negated(node)
    if isinstance(node, And | Or):
        parts = [_bound(child, upper=upper) for child in node.children]
        return _all(parts) if isinstance(node, And) == upper else _any(parts)
    return _ALWAYS


def _any(parts: list[Ways]) -> Ways:
    ways = tuple(dict.fromkeys(way for part in parts for way in part))
    return ways if len(ways) <= _MAX_WAYS else _ALWAYS


def _all(parts: list[Ways]) -> Ways:
    result = _ALWAYS
    for part in sorted(parts, key=len):
        joined = dict.fromkeys(both for one in result for other in part if (both := _both(one, other)) is not None)
        # Leaving a part out only widens what is let through.
        if len(joined) <= _MAX_WAYS:
            result = tuple(joined)
    return result


def _both(one: Way, other: Way) -> Way | None:
    classes = one.classes & other.classes
    if not classes:
        return None
    places = one.places if other.places is None else other.places
    if one.places is not None and other.places is not None:
        # Either set holds every path that is in both; the smaller is the sharper.
        places = min(one.places, other.places, key=len)
    return Way(classes, places)


def _check(node: Check) -> Ways:
    field = node.left
    if not isinstance(field, Field) or field.argument is not None:
        return _ALWAYS
    classes = _classes_of(node, field.name)
    if classes is not None:
        return (Way(classes),) if classes else _NEVER
    if field.name == "fd.nameraw" and _needs_unclean(node):
        return (Way(places=frozenset()),)
    places = _places_of(node, field.name)
    return _ALWAYS if places is None else (Way(places=places),)


_UNCLEAN = ("//", "/.", "..")
"""A path as given that holds one of these is always sent where its class can matter, so it needs no place."""


def _needs_unclean(node: Check) -> bool:
    """Tell whether only a path that isn't clean can make a check of the path as given true."""
    if node.modifier is not None or not isinstance(node.right, Literal | ValueList):
        return False
    values = [item.text for item in literals(node)]
    if node.operator == "glob":
        return not any("[" in value or "\\" in value for value in values) and _all_unclean(values)
    return node.operator in ("=", "==", "in", "contains", "startswith", "endswith") and _all_unclean(values)


def _all_unclean(values: list[str]) -> bool:
    return all(any(part in value for part in _UNCLEAN) for value in values)


def _negated(node: Check) -> Ways:
    field = node.left
    if not isinstance(field, Field) or field.argument is not None:
        return _ALWAYS
    classes = _classes_of(node, field.name)
    # Where the check is exact on classes, so is its negation; of places only an upper bound is known.
    if classes is not None and _is_exact(field.name):
        left = _ALL_CLASSES - classes
        return (Way(left),) if left else _NEVER
    return _ALWAYS


_BITS = {"evt.is_open_read": READ, "evt.is_open_write": WRITE, "evt.failed": FAILED}


def _is_exact(field: str) -> bool:
    return field in _BITS


def _with(bit: int) -> frozenset[int]:
    return frozenset(number for number in range(CLASSES) if number & bit)


def _classes_of(node: Check, field: str) -> frozenset[int] | None:
    """Give the classes in which a check may be true; None where it says nothing of them."""
    operator, values = node.operator, [item.text for item in literals(node)]
    if node.modifier is not None or (node.right is not None and not isinstance(node.right, Literal | ValueList)):
        return None
    if field in _BITS and operator in ("=", "==", "!=") and values in (["true"], ["false"]):
        holds = (values == ["true"]) == (operator != "!=")
        return _with(_BITS[field]) if holds else _ALL_CLASSES - _with(_BITS[field])
    if field in ("evt.is_open_exec", "evt.is_open_create"):
        return _with(CREATE) if operator in ("=", "==") and values == ["true"] else None
    succeeded = _ALL_CLASSES - _with(FAILED)
    # Only a call that succeeded has a descriptor; the number that a failed one gives is negative.
    if field == "fd.num" or (field == "evt.rawres" and operator in (">", ">=") and values[0].isdigit()):
        return succeeded
    if field == "evt.res" and operator in ("=", "==", "in"):
        return succeeded if values == ["SUCCESS"] else _ALL_CLASSES if "SUCCESS" in values else _with(FAILED)
    return None


def _places_of(node: Check, field: str) -> frozenset[Place] | None:
    """Give places that hold every path for which a check may be true; None where there is no telling."""
    if node.modifier is not None or not isinstance(node.right, Literal | ValueList):
        return None
    values = [item.text.encode("utf-8", "surrogateescape") for item in literals(node)]
    maker = _PLACES.get((field, node.operator))
    if maker is None:
        return None
    places = [maker(value) for value in values]
    return None if any(place is None for place in places) else frozenset(place for place in places if place)


def _exactly(path: bytes) -> Place | None:
    return _beginning(path + b"\0") if path else None


def _beginning(text: bytes) -> Place | None:
    return Place(is_prefix=True, text=text[:MAX_PREFIX]) if text.strip(b"/") else None


def _ending(text: bytes) -> Place | None:
    return Place(is_prefix=False, text=text[-MAX_SUFFIX:]) if text else None


def _below(folder: bytes) -> Place | None:
    """Hold the paths in a folder, and the folder itself, which is its own directory when it is opened."""
    return _beginning(folder)


def _named(name: bytes) -> Place | None:
    return _ending(b"/" + name) if name and b"/" not in name else None


def _like(pattern: bytes) -> Place | None:
    """Take what stands before the first wildcard."""
    for place, character in enumerate(pattern):
        if character in b"*?[\\":
            return _beginning(pattern[:place])
    return _exactly(pattern)


def _component(pattern: bytes) -> Place | None:
    """Hold the paths at or below a pattern: as far as it has no wildcard."""
    place = _like(pattern)
    return None if place is None else _beginning(place.text.removesuffix(b"\0"))


_PLACES: dict[tuple[str, str], Callable[[bytes], Place | None]] = {
    **{("fd.name", operator): _exactly for operator in ("=", "==", "in")},
    ("fd.name", "startswith"): _beginning,
    ("fd.name", "endswith"): _ending,
    ("fd.name", "glob"): _like,
    ("fd.name", "pmatch"): _component,
    **{("fd.directory", operator): _below for operator in ("=", "==", "in")},
    ("fd.directory", "startswith"): _beginning,
    **{("fd.filename", operator): _named for operator in ("=", "==", "in")},
    ("fd.filename", "endswith"): _ending,
}
