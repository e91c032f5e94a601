"""Reads one field of a mapping file: where its value is, and its type."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from foundation.yaml import mappings
from foundation.yaml.mappings import BadMapping, MappingReader
from foundation.yaml.nodes import MappingNode, Node, SequenceNode
from processor.fields.json import recipes
from processor.fields.json.documents import Reader, Value
from processor.fields.json.recipes import KINDS, BadPath, Find

Readers = Mapping[str, "MappedField"]
_FIELD = re.compile(r"%([a-zA-Z][a-zA-Z0-9_.]*[a-zA-Z0-9_])")
_WRAPPING = 2
_MAX_CHOICES = 50


@dataclass(frozen=True, slots=True)
class MappedField:
    """One field."""

    find: Find
    kind: str = "text"
    """A key of KINDS."""
    is_list: bool = False
    join: str | None = None
    """The separator of the values, if all of them are one text."""
    around: str = ""
    """Two characters around these."""
    description: str = ""

    def reader(self, index: int | None = None) -> Reader:
        """Return what reads the field's value, or of several values the one at a position."""
        if self.is_list:
            return recipes.listed(self.find, index)
        if self.join is None:
            return recipes.typed(self.find, self.kind)
        if index is not None:
            return recipes.element(self.find, index)
        read, before, after = recipes.joined(self.find, self.join), self.around[:1], self.around[1:]

        def wrapped(document: object) -> Value:
            text = read(document)
            return None if text is None else f"{before}{text}{after}"

        return wrapped


def read_field(node: Node, name: str, known: Readers, kind: str | None, *, is_list: bool) -> MappedField:
    """Read the definition of a field.

    Args:
        node: a path, a list of alternatives, or a mapping.
        name: of the field.
        known: the fields before it, which a text may name.
        kind: the type, if the catalog has the field.
        is_list: whether the catalog has it as a list.

    Raises:
        BadMapping: it is wrong.
    """
    if not isinstance(node, MappingNode):
        return MappedField(read_find(node, name, known), kind or "text", is_list)
    table = MappingReader(node, f"the field '{name}'")
    find = _find(table, name, known)
    join, around = table.value(_plain, None, "join"), table.value(_around, "", "around")
    given = {} if kind is not None else _declared(table)
    table.refuse_unknown()
    if join is None and around:
        raise BadMapping("'around' goes with 'join'", node)
    fields = {"kind": kind or "text", "is_list": is_list} | given
    return MappedField(find, join=join, around=around, **fields)  # type: ignore[arg-type]


def _declared(table: MappingReader) -> dict[str, str | bool]:
    return {
        "kind": table.value(mappings.one_of("type", KINDS), "text", "type"),
        "is_list": table.value(mappings.truth, False, "list"),
        "description": table.value(mappings.text, "", "description"),
    }


def read_find(node: Node, name: str, known: Readers) -> Find:
    """Read where a value is. Raises BadMapping."""
    if isinstance(node, SequenceNode):
        if len(node.items) > _MAX_CHOICES:
            raise BadMapping(f"'{name}' has more than {_MAX_CHOICES} alternatives", node)
        return recipes.first_of([read_find(item, name, known) for item in node.items]) if node.items else _nothing
    if isinstance(node, MappingNode):
        table = MappingReader(node, f"the field '{name}'")
        find = _find(table, name, known)
        table.refuse_unknown()
        return find
    path = mappings.text(node, name)
    return _checked(lambda: recipes.at(path), node, "as in /userIdentity/arn, /target/*/id or /target/[type=User]/id")


def _nothing(_document: object) -> tuple[()]:
    return ()


def _checked(make: Callable[[], Find], node: Node, hint: str = "") -> Find:
    try:
        return make()
    except BadPath as error:
        raise BadMapping(str(error), node, hint) from None


def _find(table: MappingReader, name: str, known: Readers) -> Find:
    if (selector := table.get("by")) is not None:
        return _by_case(table, read_find(selector, "by", known), known)
    if (added := table.get("sum")) is not None:
        nodes = added.items if isinstance(added, SequenceNode) else (added,)
        return recipes.total([read_find(each, "sum", known) for each in nodes])
    place, text = table.get("at"), table.get("text")
    if place is None and text is None:
        raise BadMapping(f"'{name}' has no value", table.node, "add 'at: PATH', 'text:', 'by:' or 'sum:'")
    find = None if place is None else read_find(place, name, known)
    if text is not None:
        if find is None:
            return recipes.template(_parts(text, known))
        return recipes.constant(_plain(text, "text"), find)
    if find is None:
        raise BadMapping(f"'{name}' has no value", table.node)
    if (pattern := table.get("match")) is not None:
        before, expression = find, mappings.text(pattern, "match")
        find = _checked(lambda: recipes.matched(before, recipes.compile_pattern(expression)), pattern)
    texts = table.value(mappings.pairs(_plain), None, "texts")
    return find if texts is None else recipes.translated(find, texts)


def _by_case(table: MappingReader, selector: Find, known: Readers) -> Find:
    cases = table.need("cases", "'by' needs cases", "add 'cases: {TEXT: PATH}'")
    named = {key: read_find(node, key, known) for key, node in MappingReader(cases, "cases").pairs().items()}
    chosen = recipes.by_case(selector, named)
    other = table.get("else")
    if other is None:
        return chosen
    default = read_find(other, "else", known)
    is_named = recipes.translated(selector, dict.fromkeys(named, ""))
    return lambda document: chosen(document) if is_named(document) else default(document)


def _parts(node: Node, known: Readers) -> list[str | Reader]:
    parts: list[str | Reader] = []
    text, end = _plain(node, "text"), 0
    for found in _FIELD.finditer(text):
        if found[1] not in known:
            hint = "a text names fields that the file defines before it"
            raise BadMapping(f"unknown field '{found[1]}'", node, hint)
        parts += [text[end : found.start()], known[found[1]].reader()]
        end = found.end()
    return [*parts, text[end:]]


def _plain(node: Node, key: str) -> str:
    return mappings.text(node, key)


def _around(node: Node, key: str) -> str:
    text = mappings.text(node, key)
    if len(text) != _WRAPPING:
        raise BadMapping(f"'{key}' takes two characters", node, "as in '()'")
    return text
