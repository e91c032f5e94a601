"""Checks of a file's name as sets of paths: those that hold every path for which the check may be true."""

from collections.abc import Callable

from processor.language.ast import Check, Literal, ValueList, literals
from schemas.filter import MAX_PREFIX, MAX_SUFFIX, PathPattern

_UNCLEAN = ("//", "/.", "..")
"""A path as given that holds one of these is always sent where its class can matter, so it needs no place."""


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
    """Hold the absolute arguments that begin so: a relative one can begin with anything else."""
    return _beginning(text) if text.startswith(b"/") else None


def _below(folder: bytes) -> PathPattern | None:
    """Hold the paths in a folder, and the folder itself, which is its own directory when it is opened."""
    return _beginning(folder)


def _named(name: bytes) -> PathPattern | None:
    return _ending(b"/" + name) if name and b"/" not in name else None


def _like(pattern: bytes) -> PathPattern | None:
    """Take what stands before the first wildcard."""
    for index, character in enumerate(pattern):
        if character in b"*?[\\":
            return _beginning(pattern[:index])
    return _exactly(pattern)


def _component(pattern: bytes) -> PathPattern | None:
    """Hold the paths at or below a pattern: as far as it has no wildcard."""
    found = _like(pattern)
    return None if found is None else _beginning(found.text.removesuffix(b"\0"))


_PATTERNS: dict[tuple[str, str], Callable[[bytes], PathPattern | None]] = {
    **{("fd.name", operator): _exactly for operator in ("=", "==", "in")},
    ("fd.name", "startswith"): _beginning,
    ("fd.nameraw", "startswith"): _beginning_as_given,
    ("fd.name", "endswith"): _ending,
    ("fd.name", "glob"): _like,
    ("fd.name", "pmatch"): _component,
    **{("fd.directory", operator): _below for operator in ("=", "==", "in")},
    ("fd.directory", "startswith"): _beginning,
    **{("fd.filename", operator): _named for operator in ("=", "==", "in")},
    ("fd.filename", "endswith"): _ending,
}
