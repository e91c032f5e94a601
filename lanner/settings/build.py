"""Builds typed settings from a tree of texts; collects all errors with their locations."""

import dataclasses
import re
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from lanner.settings import forms
from lanner.settings.faults import SettingFault, nearest
from lanner.settings.sections.model import BUILT_IN, COMMANDS, KINDS, Settings, sinks_of
from lanner.settings.sections.sinks import AlertMatch, Condition, ExtraField, NamedSection

TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})


def build_settings(tree: Node) -> tuple[Settings, list[SettingFault]]:
    """Build settings from a tree. Return them with all errors; a setting with an error has its default."""
    problems: list[SettingFault] = []
    settings = _build(Settings, tree, "", problems)
    if not isinstance(settings, Settings):
        return Settings(), problems
    # What is wrong must not stop other checks.
    if unknown := _unknown_sinks(settings, tree):
        known = sinks_of(settings)
        routes = (each if each.sink in known else dataclasses.replace(each, sink="stdout") for each in settings.routes)
        settings = dataclasses.replace(settings, routes=tuple(routes))
    if bad := _bad_patterns(settings, tree):
        settings = dataclasses.replace(settings, redact=Settings().redact)
    return settings, [*problems, *unknown, *bad]


class _Wrong:
    """Marks a value that can't be used, so that its default applies."""


WRONG = _Wrong()


def _build(expected: Any, tree: Node, path: str, problems: list[SettingFault]) -> Any:
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
        condition = Condition(tree.text or "", tree)
        return condition if expected is Condition else AlertMatch(condition=condition)
    if expected is Condition:
        return _wrong(problems, tree, path, "must be a condition in the rule language")
    if origin is Mapping:
        return _named_sinks(tree, path, problems)
    if dataclasses.is_dataclass(expected):
        return _section(expected, tree, path, problems)
    if origin is tuple:
        return _list(get_args(expected)[0], tree, path, problems)
    if not isinstance(tree, ScalarNode):
        return _wrong(problems, tree, path, f"must be {_in_words(expected)}")
    return _scalar(expected, tree, path, problems)


def _section(expected: Any, tree: Node, path: str, problems: list[SettingFault]) -> Any:
    if isinstance(tree, ScalarNode) and tree.text is None:
        return expected()
    if not isinstance(tree, MappingNode):
        return _wrong(problems, tree, path or "the settings", "must be a mapping of names to values")
    hints = get_type_hints(expected)
    forms = {each.name: each.metadata for each in dataclasses.fields(expected)}
    built = {}
    for key, below in tree.entries():
        name = f"{path}.{key.value}" if path else key.value
        if key.value not in hints:
            hint = _nearest(key.value, path, hints)
            problems.append(SettingFault(name, f"there is no setting {name!r}.", hint, location=key.location))
            continue
        value = _build(hints[key.value], below, name, problems)
        if value is not WRONG and _has_form(value, forms[key.value], below, name, problems):
            built[key.value] = value
    return expected(**built)


def _has_form(value: Any, metadata: Mapping[str, Any], tree: Node, name: str, problems: list[SettingFault]) -> bool:
    """Return whether a value has the form that its setting requires; add a problem if not."""
    form = metadata.get("form") or (forms.positive if type(value) is int else None)
    if form is None or value is None:
        return True
    nodes = tree.items if isinstance(tree, SequenceNode) else (tree,)
    names = [f"{name}[{index}]" for index in range(len(nodes))] if isinstance(value, tuple) else [name]
    is_right = True
    for node, each, path in zip(nodes, value if isinstance(value, tuple) else (value,), names, strict=False):
        if needed := form(each):
            # A secret must not be quoted.
            shown = "" if metadata["hides"] else f", not {each!r}"
            problems.append(_fault(node, path, f"must be {needed}{shown}"))
            is_right = False
    return is_right


def _fault(tree: Node, path: str, what: str) -> SettingFault:
    return SettingFault(path, f"{path} {what}.", location=tree.location)


def _wrong(problems: list[SettingFault], tree: Node, path: str, what: str) -> _Wrong:
    problems.append(_fault(tree, path, what))
    return WRONG


def _nearest(key: str, path: str, hints: dict[str, Any]) -> str:
    prefix = f"{path}." if path else ""
    if hint := nearest(key, hints):
        return hint.replace("did you mean ", f"did you mean {prefix}")
    return "" if len(hints) > 8 else f"settings here are {', '.join(prefix + name for name in hints)}"


def _list(expected: Any, tree: Node, path: str, problems: list[SettingFault]) -> Any:
    if isinstance(tree, ScalarNode):
        if not tree.text:
            return ()
        # An environment variable or flag usually names a single item.
        tree = SequenceNode(tree.file, tree.start, tree.end, (tree,))
    if not isinstance(tree, SequenceNode):
        return _wrong(problems, tree, path, "must be a list")
    items = [_build(expected, item, f"{path}[{index}]", problems) for index, item in enumerate(tree.items)]
    return WRONG if WRONG in items else tuple(items)


def _named_sinks(tree: Node, path: str, problems: list[SettingFault]) -> Any:
    """Build named sinks; each names its type and has the settings of that type's section."""
    if isinstance(tree, ScalarNode) and not tree.text:
        return {}
    if not isinstance(tree, MappingNode):
        return _wrong(problems, tree, path, "must be a mapping of names to sinks")
    found: dict[str, NamedSection] = {}
    for key, below in tree.entries():
        name = key.value
        where = f"{path}.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in (*BUILT_IN, *COMMANDS):
            reason = "is taken" if name in (*BUILT_IN, *COMMANDS) else "must be of a-z, 0-9 and _, at most 40"
            problems.append(SettingFault(where, f"{where}: this name {reason}.", location=key.location))
            continue
        kind = below.get("type") if isinstance(below, MappingNode) else None
        expected = KINDS.get(kind.text or "") if isinstance(kind, ScalarNode) else None
        if expected is None or not isinstance(below, MappingNode):
            given = (kind.text or "") if isinstance(kind, ScalarNode) else ""
            text = f"{where}.type must be one of {', '.join(KINDS)}."
            problems.append(SettingFault(f"{where}.type", text, nearest(given, KINDS), location=(kind or key).location))
            continue
        pairs = [(name, value) for name, value in below.entries() if name.value != "type"]
        if below.get("enabled") is None:
            location = (key.file, key.start, key.end)
            pairs.append((ScalarNode(*location, "enabled"), ScalarNode(*location, "true")))
        section = _section(expected, MappingNode(below.file, below.start, below.end, tuple(pairs)), where, problems)
        if section is not WRONG:
            found[name] = section
    return found


def _unknown_sinks(settings: Settings, tree: Node) -> list[SettingFault]:
    """Return errors for routes to unknown sinks."""
    known, wrong = sinks_of(settings), list[SettingFault]()
    routes = tree.get("routes") if isinstance(tree, MappingNode) else None
    for number, route in enumerate(routes.items if isinstance(routes, SequenceNode) else (routes,)):
        sink = route.get("sink") if isinstance(route, MappingNode) else None
        if isinstance(sink, ScalarNode) and sink.text not in known:
            name, given = f"routes[{number}].sink", sink.text or ""
            text = f"{name} must be one of {', '.join(known)}, not {given!r}."
            wrong.append(SettingFault(name, text, nearest(given, known), location=sink.location))
    return wrong


def _bad_patterns(settings: Settings, tree: Node) -> list[SettingFault]:
    """Return errors for invalid patterns in `redact`."""
    given = tree.get("redact") if isinstance(tree, MappingNode) else None
    if given is None:
        return []
    from processor.output.redaction import BadPattern, Redaction  # noqa: PLC0415  most settings have no patterns of their own

    locations = [item.location for item in given.items] if isinstance(given, SequenceNode) else [given.location]
    wrong = []
    for number, pattern in enumerate(settings.redact):
        try:
            Redaction((pattern,))
        except BadPattern as error:
            name = f"redact[{number}]"
            wrong.append(SettingFault(name, f"{name}: {error}", location=locations[number]))
    return wrong


def _extra_field(tree: Node, path: str, problems: list[SettingFault]) -> Any:
    """Build `name` or `name: format`, the syntax of Falco's extra_fields."""
    if isinstance(tree, ScalarNode) and tree.text:
        return ExtraField(tree.text)
    if isinstance(tree, MappingNode) and len(tree.pairs) == 1:
        ((name, value),) = tree.entries()
        if isinstance(value, ScalarNode) and value.text:
            return ExtraField(name.value, value.text)
    return _wrong(problems, tree, path, "must be the name of a field, or one `name: format`")


def _scalar(expected: Any, tree: ScalarNode, path: str, problems: list[SettingFault]) -> Any:
    text = tree.text or ""
    if expected is str:
        return text
    if expected is bool:
        if text.lower() in TRUE or text.lower() in FALSE:
            return text.lower() in TRUE
    elif expected is int:
        if text.isascii() and text.isdigit() and int(text[:11]) < 2**31:
            return int(text)
    elif get_origin(expected) is Literal and text.lower() in get_args(expected):
        return text.lower()
    shown = "nothing" if tree.text is None else repr(text)
    hint = nearest(text, get_args(expected)) if get_origin(expected) is Literal else ""
    text = f"{path} must be {_in_words(expected)}, not {shown}."
    problems.append(SettingFault(path, text, hint, location=tree.location))
    return WRONG


def _in_words(expected: Any) -> str:
    if get_origin(expected) is Literal:
        return f"one of {', '.join(get_args(expected))}"
    return {bool: "true or false", int: "a positive integer", str: "a text"}[expected]
