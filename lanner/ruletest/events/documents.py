"""The keys of an event that is JSON in a test file: its source, its time and its document."""

import json
from typing import Any

from lanner.ruletest import values
from lanner.ruletest.model import StatedDocument
from lanner.ruletest.values import MappingReader, TestFileError
from schemas.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode


def is_document(node: Node) -> bool:
    """Return whether an event states its source."""
    return isinstance(node, MappingNode) and node.get("source") is not None


def read_document(node: Node) -> StatedDocument:
    """Read an event that is JSON. Raises TestFileError."""
    table = MappingReader(node, "an event")
    at = table.value(values.duration, 0, "at")
    source = values.text(table.need("source", "an event of JSON has a source", "add 'source: github'"), "source")
    document = table.need("json", "an event of JSON has a document", "add 'json: {...}'")
    if not isinstance(document, MappingNode):
        raise TestFileError("'json' takes a mapping", document)
    table.refuse_unknown()
    return StatedDocument(at, source, _value(document))


def _value(node: Node) -> Any:
    """Return what JSON of the same text would be; text needs no quotation marks."""
    if isinstance(node, SequenceNode):
        return [_value(item) for item in node.items]
    if isinstance(node, MappingNode):
        return {name: _value(value) for name, value in MappingReader(node, "an object").pairs().items()}
    return _scalar(node)


def _scalar(node: ScalarNode) -> Any:
    if node.is_null:
        return None
    if node.style:
        return node.value
    try:
        return json.loads(node.value, parse_constant=str)
    except ValueError:
        return node.value
