"""From a tree of texts to typed settings; every fault is collected with its place."""

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
    """Give the settings that a tree asks for, and what is wrong with it: what is wrong keeps its default."""
    problems: list[str] = []
    settings = _build(Settings, tree, "", problems)
    if not isinstance(settings, Settings):
        return Settings(), problems
    problems += (*_unknown_sinks(settings, tree), *_bad_patterns(settings, tree))
    return settings, problems


class _Wrong:
    """Stands for a value that can't be used: its default stays."""


WRONG = _Wrong()


def _build(wanted: Any, tree: Tree, path: str, problems: list[str]) -> Any:
    """Give a value of the wanted type, or WRONG with a problem noted."""
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        if isinstance(tree, Text) and tree.text is None:
            return None
        wanted = next(kind for kind in get_args(wanted) if kind is not types.NoneType)
        origin = get_origin(wanted)
    if wanted is ExtraField:
        return _extra_field(tree, path, problems)
    if wanted in (Condition, AlertMatch) and isinstance(tree, Text) and (tree.text or "").strip():
        condition = Condition(tree.text or "", str(tree.place))
        return condition if wanted is Condition else AlertMatch(condition=condition)
    if wanted is Condition:
        problems.append(f"{tree.place}: {path} must be a condition in the rule language.")
        return WRONG
    if origin is Mapping:
        return _named_sinks(tree, path, problems)
    if dataclasses.is_dataclass(wanted):
        return _section(wanted, tree, path, problems)
    if origin is tuple:
        return _list(get_args(wanted)[0], tree, path, problems)
    if not isinstance(tree, Text):
        problems.append(f"{tree.place}: {path} must be {_in_words(wanted)}.")
        return WRONG
    return _scalar(wanted, tree, path, problems)


def _section(wanted: Any, tree: Tree, path: str, problems: list[str]) -> Any:
    if isinstance(tree, Text) and tree.text is None:
        return wanted()
    if not isinstance(tree, Keys):
        problems.append(f"{tree.place}: {path or 'the settings'} must be a mapping of names to values.")
        return WRONG
    hints = get_type_hints(wanted)
    values = {}
    for key, (place, below) in tree.entries.items():
        name = f"{path}.{key}" if path else key
        if key not in hints:
            problems.append(f"{place}: there is no setting {name!r}.{_nearest(key, path, hints)}")
            continue
        value = _build(hints[key], below, name, problems)
        if value is not WRONG:
            values[key] = value
    return wanted(**values)


def _nearest(key: str, path: str, hints: dict[str, Any]) -> str:
    close = difflib.get_close_matches(key.lower(), hints, n=1)
    prefix = f"{path}." if path else ""
    if close:
        return f" Did you mean {prefix}{close[0]}?"
    return "" if len(hints) > 8 else f" There are: {', '.join(prefix + name for name in hints)}."


def _list(wanted: Any, tree: Tree, path: str, problems: list[str]) -> Any:
    if isinstance(tree, Text):
        if not tree.text:
            return ()
        # An environment variable or flag names a single item most of the time.
        tree = Items(tree.place, (tree,))
    if not isinstance(tree, Items):
        problems.append(f"{tree.place}: {path} must be a list.")
        return WRONG
    values = [_build(wanted, item, f"{path}[{index}]", problems) for index, item in enumerate(tree.items)]
    return WRONG if WRONG in values else tuple(values)


def _named_sinks(tree: Tree, path: str, problems: list[str]) -> Any:
    """Take sinks by name; each says its type, and holds what the section of that type may hold."""
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
        wanted = KINDS.get(kind.text or "") if isinstance(kind, Text) else None
        if wanted is None:
            problems.append(f"{kind.place if kind else place}: {where}.type must be one of {', '.join(KINDS)}.")
            continue
        entries.setdefault("enabled", (place, Text(place, "true")))
        section = _section(wanted, Keys(below.place, entries), where, problems)
        if section is not WRONG:
            found[name] = section
    return found


def _unknown_sinks(settings: Settings, tree: Tree) -> list[str]:
    """Say which routes lead to a sink that isn't there."""
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
    """Say which patterns of `redact` can't be used."""
    _, given = tree.entries.get("redact", (None, None)) if isinstance(tree, Keys) else (None, None)
    if given is None:
        return []
    from processor.detection.redaction import BadPattern, Redaction  # noqa: PLC0415  most have no patterns of their own

    places = [item.place for item in given.items] if isinstance(given, Items) else [given.place]
    wrong = []
    for number, pattern in enumerate(settings.redact):
        try:
            Redaction((pattern,))
        except BadPattern as error:
            wrong.append(f"{places[number]}: redact[{number}]: {error}")
    return wrong


def _extra_field(tree: Tree, path: str, problems: list[str]) -> Any:
    """Take `name` or `name: format`, as Falco's extra_fields are written."""
    if isinstance(tree, Text) and tree.text:
        return ExtraField(tree.text)
    if isinstance(tree, Keys) and len(tree.entries) == 1:
        ((name, (_, value)),) = tree.entries.items()
        if isinstance(value, Text) and value.text:
            return ExtraField(name, value.text)
    problems.append(f"{tree.place}: {path} must be the name of a field, or one `name: format`.")
    return WRONG


def _scalar(wanted: Any, tree: Text, path: str, problems: list[str]) -> Any:
    text = tree.text or ""
    if wanted is str:
        return text
    if wanted is bool:
        if text.lower() in TRUE or text.lower() in FALSE:
            return text.lower() in TRUE
    elif wanted is int:
        if text.isascii() and text.isdigit() and 0 < int(text) < 2**31:
            return int(text)
    elif get_origin(wanted) is Literal and text.lower() in get_args(wanted):
        return text.lower()
    shown = "nothing" if tree.text is None else repr(text)
    problems.append(f"{tree.place}: {path} must be {_in_words(wanted)}, not {shown}.")
    return WRONG


def _in_words(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        return f"one of {', '.join(get_args(wanted))}"
    return {bool: "true or false", int: "a number from 1", str: "a text"}[wanted]
