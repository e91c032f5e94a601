"""Builds typed settings from a tree of texts; collects all errors with their locations."""

import dataclasses
import difflib
import re
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lanner.settings.named import BUILT_IN, COMMANDS, KINDS, sinks_of
from lanner.settings.sections.delivery import AlertMatch, Condition
from lanner.settings.sections.model import ExtraField, NamedSection, Settings
from lanner.settings.tree import Items, Keys, Text, Tree

TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})


def build_settings(tree: Tree) -> tuple[Settings, list[str]]:
    """Build settings from a tree. Return them with all errors; a setting with an error has its default."""
    problems: list[str] = []
    settings = _build(Settings, tree, "", problems)
    if not isinstance(settings, Settings):
        return Settings(), problems
    problems += (*_unknown_sinks(settings, tree), *_bad_patterns(settings, tree))
    return settings, problems


class _Wrong:
    """Marks a value that can't be used, so that its default applies."""


WRONG = _Wrong()


def _build(expected: Any, tree: Tree, path: str, problems: list[str]) -> Any:
    """Return a value of the expected type, or WRONG after adding a problem."""
    origin = get_origin(expected)
    if origin in (Union, types.UnionType):
        if isinstance(tree, Text) and tree.text is None:
            return None
        expected = next(kind for kind in get_args(expected) if kind is not types.NoneType)
        origin = get_origin(expected)
    if expected is ExtraField:
        return _extra_field(tree, path, problems)
    if expected in (Condition, AlertMatch) and isinstance(tree, Text) and (tree.text or "").strip():
        condition = Condition(tree.text or "", str(tree.place))
        return condition if expected is Condition else AlertMatch(condition=condition)
    if expected is Condition:
        problems.append(f"{tree.place}: {path} must be a condition in the rule language.")
        return WRONG
    if origin is Mapping:
        return _named_sinks(tree, path, problems)
    if dataclasses.is_dataclass(expected):
        return _section(expected, tree, path, problems)
    if origin is tuple:
        return _list(get_args(expected)[0], tree, path, problems)
    if not isinstance(tree, Text):
        problems.append(f"{tree.place}: {path} must be {_in_words(expected)}.")
        return WRONG
    return _scalar(expected, tree, path, problems)


def _section(expected: Any, tree: Tree, path: str, problems: list[str]) -> Any:
    if isinstance(tree, Text) and tree.text is None:
        return expected()
    if not isinstance(tree, Keys):
        problems.append(f"{tree.place}: {path or 'the settings'} must be a mapping of names to values.")
        return WRONG
    hints = get_type_hints(expected)
    values = {}
    for key, (place, below) in tree.entries.items():
        name = f"{path}.{key}" if path else key
        if key not in hints:
            problems.append(f"{place}: there is no setting {name!r}.{_nearest(key, path, hints)}")
            continue
        value = _build(hints[key], below, name, problems)
        if value is not WRONG:
            values[key] = value
    return expected(**values)


def _nearest(key: str, path: str, hints: dict[str, Any]) -> str:
    close = difflib.get_close_matches(key.lower(), hints, n=1)
    prefix = f"{path}." if path else ""
    if close:
        return f" Did you mean {prefix}{close[0]}?"
    return "" if len(hints) > 8 else f" Settings here are: {', '.join(prefix + name for name in hints)}."


def _list(expected: Any, tree: Tree, path: str, problems: list[str]) -> Any:
    if isinstance(tree, Text):
        if not tree.text:
            return ()
        # An environment variable or flag usually names a single item.
        tree = Items(tree.place, (tree,))
    if not isinstance(tree, Items):
        problems.append(f"{tree.place}: {path} must be a list.")
        return WRONG
    values = [_build(expected, item, f"{path}[{index}]", problems) for index, item in enumerate(tree.items)]
    return WRONG if WRONG in values else tuple(values)


def _named_sinks(tree: Tree, path: str, problems: list[str]) -> Any:
    """Build named sinks; each names its type and has the settings of that type's section."""
    if isinstance(tree, Text) and not tree.text:
        return {}
    if not isinstance(tree, Keys):
        problems.append(f"{tree.place}: {path} must be a mapping of names to sinks.")
        return WRONG
    found: dict[str, NamedSection] = {}
    for name, (place, below) in tree.entries.items():
        where = f"{path}.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in (*BUILT_IN, *COMMANDS):
            reason = "is taken" if name in (*BUILT_IN, *COMMANDS) else "must be of a-z, 0-9 and _, at most 40"
            problems.append(f"{place}: {where}: this name {reason}.")
            continue
        entries = dict(below.entries) if isinstance(below, Keys) else {}
        _, kind = entries.pop("type", (place, None))
        expected = KINDS.get(kind.text or "") if isinstance(kind, Text) else None
        if expected is None:
            problems.append(f"{kind.place if kind else place}: {where}.type must be one of {', '.join(KINDS)}.")
            continue
        entries.setdefault("enabled", (place, Text(place, "true")))
        section = _section(expected, Keys(below.place, entries), where, problems)
        if section is not WRONG:
            found[name] = section
    return found


def _unknown_sinks(settings: Settings, tree: Tree) -> list[str]:
    """Return errors for routes to unknown sinks."""
    known, wrong = sinks_of(settings), list[str]()
    _, routes = tree.entries.get("routes", (None, None)) if isinstance(tree, Keys) else (None, None)
    for number, route in enumerate(routes.items if isinstance(routes, Items) else (routes,)):
        _, sink = route.entries.get("sink", (None, None)) if isinstance(route, Keys) else (None, None)
        if isinstance(sink, Text) and sink.text not in known:
            wrong.append(
                f"{sink.place}: routes[{number}].sink must be one of {', '.join(known)}, not {sink.text or ''!r}."
            )
    return wrong


def _bad_patterns(settings: Settings, tree: Tree) -> list[str]:
    """Return errors for invalid patterns in `redact`."""
    _, given = tree.entries.get("redact", (None, None)) if isinstance(tree, Keys) else (None, None)
    if given is None:
        return []
    from processor.detection.redaction import BadPattern, Redaction  # noqa: PLC0415  most settings have no patterns of their own

    places = [item.place for item in given.items] if isinstance(given, Items) else [given.place]
    wrong = []
    for number, pattern in enumerate(settings.redact):
        try:
            Redaction((pattern,))
        except BadPattern as error:
            wrong.append(f"{places[number]}: redact[{number}]: {error}")
    return wrong


def _extra_field(tree: Tree, path: str, problems: list[str]) -> Any:
    """Build `name` or `name: format`, the syntax of Falco's extra_fields."""
    if isinstance(tree, Text) and tree.text:
        return ExtraField(tree.text)
    if isinstance(tree, Keys) and len(tree.entries) == 1:
        ((name, (_, value)),) = tree.entries.items()
        if isinstance(value, Text) and value.text:
            return ExtraField(name, value.text)
    problems.append(f"{tree.place}: {path} must be the name of a field, or one `name: format`.")
    return WRONG


def _scalar(expected: Any, tree: Text, path: str, problems: list[str]) -> Any:
    text = tree.text or ""
    if expected is str:
        return text
    if expected is bool:
        if text.lower() in TRUE or text.lower() in FALSE:
            return text.lower() in TRUE
    elif expected is int:
        if text.isascii() and text.isdigit() and 0 < int(text) < 2**31:
            return int(text)
    elif get_origin(expected) is Literal and text.lower() in get_args(expected):
        return text.lower()
    shown = "nothing" if tree.text is None else repr(text)
    problems.append(f"{tree.place}: {path} must be {_in_words(expected)}, not {shown}.")
    return WRONG


def _in_words(expected: Any) -> str:
    if get_origin(expected) is Literal:
        return f"one of {', '.join(get_args(expected))}"
    return {bool: "true or false", int: "a positive integer", str: "a text"}[expected]
