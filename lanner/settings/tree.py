"""Settings as a tree of texts with their locations, independent of the source.

Files, environment variables and flags all become this tree, so that the same checks and error messages serve all three.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from lanner.errors import BadInput

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class SettingLocation:
    """Where something was written: line and column of a file (from 1), or a variable or flag as a whole."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar as written; None for YAML's null."""

    place: SettingLocation
    text: str | None


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    place: SettingLocation
    items: tuple["Tree", ...]
    extends: bool = False
    """Whether the items extend the existing list, as `-o key[]=value` does, or replace it."""


@dataclass(frozen=True, slots=True)
class Keys:
    """A mapping; stores the location of each key, because unknown keys are the most common error."""

    place: SettingLocation
    entries: Mapping[str, tuple[SettingLocation, "Tree"]]


Tree = Text | Items | Keys


def parse_yaml(text: str, source: str, *, whole: SettingLocation | None = None) -> Tree:
    """Parse YAML into a tree.

    Args:
        text: the YAML.
        source: its name in messages.
        whole: the location to use throughout if lines mean nothing, as for a flag's value.

    Raises:
        BadInput: On bad syntax, a duplicate key, or a document too big or too deep to be settings.

    """
    if len(text) > MAX_BYTES:
        raise BadInput(f"{source}: more than {MAX_BYTES} characters can't be settings.")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = whole or SettingLocation(source, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0)
        raise BadInput(f"{place}: not YAML: {error.problem or error.context}.") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"{whole or source}: not YAML: {str(error).splitlines()[0]}.") from None
    if node is None:
        return Keys(whole or SettingLocation(source), {})
    return _Converter(source, whole).tree(node, 0)


class _Converter:
    """Converts YAML nodes to a tree, within limits: aliases can make a small file a huge tree."""

    def __init__(self, source: str, whole: SettingLocation | None) -> None:
        self.source = source
        self.whole = whole
        self.nodes = 0

    def tree(self, node: yaml.Node, depth: int) -> Tree:
        place = self.place(node)
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise BadInput(f"{place}: nested too deep or too big to be settings.")
        if isinstance(node, yaml.MappingNode):
            return self.keys(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return Items(place, tuple(self.tree(item, depth + 1) for item in node.value))
        is_null = node.tag == "tag:yaml.org,2002:null"
        return Text(place, None if is_null else str(node.value))

    def keys(self, node: yaml.MappingNode, depth: int) -> Keys:
        entries: dict[str, tuple[SettingLocation, Tree]] = {}
        for key_node, value in node.value:
            place = self.place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise BadInput(f"{place}: a key must be a scalar.")
            key = str(key_node.value)
            if key in entries:
                raise BadInput(f"{place}: {key!r} is given twice, first at {entries[key][0]}.")
            entries[key] = (place, self.tree(value, depth + 1))
        return Keys(self.place(node), entries)

    def place(self, node: yaml.Node) -> SettingLocation:
        return self.whole or SettingLocation(self.source, node.start_mark.line + 1, node.start_mark.column + 1)


def at_path(path: str, value: str, place: SettingLocation) -> Tree:
    """Return a tree that sets one value: for `a.b=x` a mapping in a mapping, for `a[].b=x` a list item to append.

    Args:
        path: dotted path of the setting.
        value: YAML.
        place: location for error messages.

    Raises:
        BadInput: The path or value is invalid.

    Source: Falco's `-o key=value`.

    """
    if not re.fullmatch(r"\w+(\[\])?(\.\w+(\[\])?)*", path):
        raise BadInput(f"{place}: {path!r} is not the name of a setting, such as file_output.enabled or rules[].")
    tree = _parse_or_text(value, place)
    for part in reversed(path.split(".")):
        if part.endswith("[]"):
            tree = Items(place, (tree,), extends=True)
        tree = Keys(place, {part.removesuffix("[]"): (place, tree)})
    return tree


def _parse_or_text(value: str, place: SettingLocation) -> Tree:
    """Parse a value as YAML if it is a list or mapping, else take it literally: `%` and `@` can't start YAML."""
    if value[:1] in "[{":
        return parse_yaml(value, place.source, whole=place)
    return Text(place, value)


def overlay(below: Tree, above: Tree) -> Tree:
    """Merge two trees: mappings key by key; anything else is replaced, or extended if `extends` is set."""
    if isinstance(below, Keys) and isinstance(above, Keys):
        entries = dict(below.entries)
        for key, (place, tree) in above.entries.items():
            entries[key] = (place, overlay(entries[key][1], tree) if key in entries else tree)
        return Keys(below.place, entries)
    if isinstance(below, Items) and isinstance(above, Items) and above.extends:
        return Items(above.place, below.items + above.items)
    return above
