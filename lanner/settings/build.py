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
from schemas.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})


def build_settings(tree: Node) -> tuple[Settings, list[str]]:
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


def _build(expected: Any, tree: Node, path: str, problems: list[str]) -> Any:
    """Return a value of the expected type, or WRONG after adding a problem."""
    origin = get_origin(expected)
    if origin in (Union, types.UnionType):
        if isinstance(tree, ScalarNode) and tree.text is None:
            return None
        expected = next(kind for kind in get_args(expected) if kind is not types.NoneType)
        origin = get_origin(expected)
    if expected is ExtraField:
        return _extra_field(tree, path, problems)
    if expected in (Condition, AlertMatch) and isinstance(tree, ScalarNode) and (tree.text or "").strip():
        condition = Condition(tree.text or "", str(tree.location))
        return condition if expected is Condition else AlertMatch(condition=condition)
    if expected is Condition:
        problems.append(f"{tree.location}: {path} must be a condition in the rule language.")
        return WRONG
    if origin is Mapping:
        return _named_sinks(tree, path, problems)
    if dataclasses.is_dataclass(expected):
        return _section(expected, tree, path, problems)
    if origin is tuple:
        return _list(get_args(expected)[0], tree, path, problems)
    if not isinstance(tree, ScalarNode):
        problems.append(f"{tree.location}: {path} must be {_in_words(expected)}.")
        return WRONG
    return _scalar(expected, tree, path, problems)


def _section(expected: Any, tree: Node, path: str, problems: list[str]) -> Any:
    if isinstance(tree, ScalarNode) and tree.text is None:
        return expected()
    if not isinstance(tree, MappingNode):
        problems.append(f"{tree.location}: {path or 'the settings'} must be a mapping of names to values.")
        return WRONG
    hints = get_type_hints(expected)
    values = {}
    for key, below in tree.entries():
        name = f"{path}.{key.value}" if path else key.value
        if key.value not in hints:
            problems.append(f"{key.location}: there is no setting {name!r}.{_nearest(key.value, path, hints)}")
            continue
        value = _build(hints[key.value], below, name, problems)
        if value is not WRONG:
            values[key.value] = value
    return expected(**values)


def _nearest(key: str, path: str, hints: dict[str, Any]) -> str:
    close = difflib.get_close_matches(key.lower(), hints, n=1)
    prefix = f"{path}." if path else ""
    if close:
        return f" Did you mean {prefix}{close[0]}?"
    return "" if len(hints) > 8 else f" Settings here are: {', '.join(prefix + name for name in hints)}."


def _list(expected: Any, tree: Node, path: str, problems: list[str]) -> Any:
    if isinstance(tree, ScalarNode):
        if not tree.text:
            return ()
        # An environment variable or flag usually names a single item.
        tree = SequenceNode(tree.file, tree.start, tree.end, (tree,))
    if not isinstance(tree, SequenceNode):
        problems.append(f"{tree.location}: {path} must be a list.")
        return WRONG
    values = [_build(expected, item, f"{path}[{index}]", problems) for index, item in enumerate(tree.items)]
    return WRONG if WRONG in values else tuple(values)


def _named_sinks(tree: Node, path: str, problems: list[str]) -> Any:
    """Build named sinks; each names its type and has the settings of that type's section."""
    if isinstance(tree, ScalarNode) and not tree.text:
        return {}
    if not isinstance(tree, MappingNode):
        problems.append(f"{tree.location}: {path} must be a mapping of names to sinks.")
        return WRONG
    found: dict[str, NamedSection] = {}
    for key, below in tree.entries():
        name = key.value
        where = f"{path}.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in (*BUILT_IN, *COMMANDS):
            reason = "is taken" if name in (*BUILT_IN, *COMMANDS) else "must be of a-z, 0-9 and _, at most 40"
            problems.append(f"{key.location}: {where}: this name {reason}.")
            continue
        kind = below.get("type") if isinstance(below, MappingNode) else None
        expected = KINDS.get(kind.text or "") if isinstance(kind, ScalarNode) else None
        if expected is None or not isinstance(below, MappingNode):
            problems.append(f"{(kind or key).location}: {where}.type must be one of {', '.join(KINDS)}.")
            continue
        pairs = [(name, value) for name, value in below.entries() if name.value != "type"]
        if below.get("enabled") is None:
            location = (key.file, key.start, key.end)
            pairs.append((ScalarNode(*location, "enabled"), ScalarNode(*location, "true")))
        section = _section(expected, MappingNode(below.file, below.start, below.end, tuple(pairs)), where, problems)
        if section is not WRONG:
            found[name] = section
    return found


def _unknown_sinks(settings: Settings, tree: Node) -> list[str]:
    """Return errors for routes to unknown sinks."""
    known, wrong = sinks_of(settings), list[str]()
    routes = tree.get("routes") if isinstance(tree, MappingNode) else None
    for number, route in enumerate(routes.items if isinstance(routes, SequenceNode) else (routes,)):
        sink = route.get("sink") if isinstance(route, MappingNode) else None
        if isinstance(sink, ScalarNode) and sink.text not in known:
            wrong.append(
                f"{sink.location}: routes[{number}].sink must be one of {', '.join(known)}, not {sink.text or ''!r}."
            )
    return wrong


def _bad_patterns(settings: Settings, tree: Node) -> list[str]:
    """Return errors for invalid patterns in `redact`."""
    given = tree.get("redact") if isinstance(tree, MappingNode) else None
    if given is None:
        return []
    from processor.detection.redaction import BadPattern, Redaction  # noqa: PLC0415  most settings have no patterns of their own

    locations = [item.location for item in given.items] if isinstance(given, SequenceNode) else [given.location]
    wrong = []
    for number, pattern in enumerate(settings.redact):
        try:
            Redaction((pattern,))
        except BadPattern as error:
            wrong.append(f"{locations[number]}: redact[{number}]: {error}")
    return wrong


def _extra_field(tree: Node, path: str, problems: list[str]) -> Any:
    """Build `name` or `name: format`, the syntax of Falco's extra_fields."""
    if isinstance(tree, ScalarNode) and tree.text:
        return ExtraField(tree.text)
    if isinstance(tree, MappingNode) and len(tree.pairs) == 1:
        ((name, value),) = tree.entries()
        if isinstance(value, ScalarNode) and value.text:
            return ExtraField(name.value, value.text)
    problems.append(f"{tree.location}: {path} must be the name of a field, or one `name: format`.")
    return WRONG


def _scalar(expected: Any, tree: ScalarNode, path: str, problems: list[str]) -> Any:
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
    problems.append(f"{tree.location}: {path} must be {_in_words(expected)}, not {shown}.")
    return WRONG


def _in_words(expected: Any) -> str:
    if get_origin(expected) is Literal:
        return f"one of {', '.join(get_args(expected))}"
    return {bool: "true or false", int: "a positive integer", str: "a text"}[expected]
