"""Settings as one YAML tree, whatever their source.

Files, environment variables and flags all become nodes of this tree, so that the same checks and error messages serve
all three.
"""

import re

import yaml

from lanner.errors import BadInput
from lanner.settings.faults import BadSettings, SettingFault
from schemas.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from schemas.yaml.reading import Limits, OverLimits, YamlError, read_documents
from schemas.yaml.source import SourceFile, SourceLocation

_LIMITS = Limits(characters=1 << 20, nodes=100_000, depth=20)


def parse_yaml(text: str, source: str, *, has_lines: bool = True) -> Node:
    """Parse settings.

    Args:
        text: the YAML.
        source: its name in messages.
        has_lines: whether messages name a line and column; they mean nothing in a flag's value.

    Raises:
        BadInput: On bad syntax, a duplicate key, or a document too big or too deep to be settings.

    """
    file = SourceFile(source, text, has_lines=has_lines)
    if len(file.text) > _LIMITS.characters:
        raise BadInput(f"{source}: more than {_LIMITS.characters} characters can't be settings.")
    try:
        # Its messages are more precise than those of the faster loader.
        documents = read_documents(file, _LIMITS, yaml.SafeLoader)
    except OverLimits as error:
        raise _bad("nested too deep or too big to be settings.", error.location) from None
    except YamlError as error:
        raise _bad(f"not YAML: {error.problem}.", error.location) from None
    if len(documents) > 1:
        raise _bad("settings are one document.", documents[1].location)
    if not documents:
        return MappingNode(file, 0, 0, ())
    _check_keys(documents[0])
    return documents[0]


def _bad(text: str, location: SourceLocation) -> BadSettings:
    return BadSettings(SettingFault("", text, location=location))


def _check_keys(node: Node) -> None:
    if isinstance(node, SequenceNode):
        for item in node.items:
            _check_keys(item)
    elif isinstance(node, MappingNode):
        known: dict[str, ScalarNode] = {}
        for key, value in node.pairs:
            if not isinstance(key, ScalarNode):
                raise _bad("a key must be a scalar.", key.location)
            first = known.setdefault(key.value, key)
            if first is not key:
                raise _bad(f"{key.value!r} is given twice, first at {first.location}.", key.location)
            _check_keys(value)


def with_setting(tree: Node, path: str, value: str, source: str) -> Node:
    """Return a tree in which one setting is set.

    Args:
        tree: the settings so far.
        path: dotted path of the setting; `a[].b` appends an item to a list.
        value: a text, or a list or mapping as YAML; a mapping is merged key by key.
        source: where it is from, for error messages.

    Raises:
        BadInput: The path or value is invalid.

    Source: Falco's `-o key=value`.

    """
    if not re.fullmatch(r"\w+(\[\])?(\.\w+(\[\])?)*", path):
        raise BadInput(f"{source}: {path!r} is not the name of a setting, such as file_output.enabled or rules[].")
    # Other values are taken literally: `%` and `@` can't start YAML.
    given = parse_yaml(value, source, has_lines=False) if value[:1] in "[{" else literal(value, source)
    return with_value(tree, path.split("."), given)


def literal(text: str, source: str) -> ScalarNode:
    """Return a text as if it were quoted in YAML.

    Args:
        text: the value.
        source: where it is from, for error messages.
    """
    return ScalarNode(SourceFile(source, text, has_lines=False), 0, len(text), text, '"')


def with_value(tree: Node, path: list[str], given: Node) -> Node:
    """Return a tree with a value at a path, whose parts may end in []; a mapping is merged key by key."""
    return _overlay(tree, _at_path(tree, path, given))


def _at_path(below: Node | None, path: list[str], given: Node) -> Node:
    """Return the mappings and lists that hold a value at a path; a list has the items that it has below."""
    if not path:
        return given
    name = path[0].removesuffix("[]")
    old = below.get(name) if isinstance(below, MappingNode) else None
    location = (given.file, given.start, given.end)
    if path[0].endswith("[]"):
        items = old.items if isinstance(old, SequenceNode) else ()
        value: Node = SequenceNode(*location, (*items, _at_path(None, path[1:], given)))
    else:
        value = _at_path(old, path[1:], given)
    return MappingNode(*location, ((ScalarNode(*location, name), value),))


def _overlay(below: Node, above: Node) -> Node:
    """Merge two trees: mappings key by key; anything else is replaced."""
    if not isinstance(below, MappingNode) or not isinstance(above, MappingNode):
        return above
    pairs = {key.value: (key, value) for key, value in below.entries()}
    for key, value in above.entries():
        old = pairs.get(key.value)
        pairs[key.value] = (key, value if old is None else _overlay(old[1], value))
    return MappingNode(below.file, below.start, below.end, tuple(pairs.values()))
