"""From a tree of texts to typed settings; every fault is collected with its place."""

import dataclasses
import difflib
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lanner.settings.delivery import AlertMatch, Condition
from lanner.settings.model import ExtraField, Settings
from lanner.settings.tree import Items, Keys, Text, Tree

TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})


def build_settings(tree: Tree) -> tuple[Settings, list[str]]:
    """Give the settings that a tree asks for, and what is wrong with it: what is wrong keeps its default."""
    problems: list[str] = []
    settings = _build(Settings, tree, "", problems)
    return (settings if isinstance(settings, Settings) else Settings()), problems


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
